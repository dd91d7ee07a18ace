// Package packages is the table of packages a cell may import: of the standard library, and of gonum. It is
// apart from typeinfo so that the generator of the embedded data does not need the data.
package packages

import "strings"

// Allowed lists the packages a cell may import. Adding one means running go generate.
//
// Left out on purpose:
//
//	os/exec, os/signal, os/user, syscall, path/filepath, io/fs, embed: files and processes of the
//	    worker are not part of a namespace, and a replay on another machine would see others
//	net, net/*, crypto/tls: no network from a cell; handlers are for that
//	runtime/*, plugin, debug/*: reach arbitrary memory or the worker itself
//	testing, log/slog, expvar, flag: act on the process (exit, standard streams, globals);
//	    package farm has Logf
//	encoding/gob, encoding/xml, html/template, go/*: rely on reflection over named types, which the
//	    engine does not give
//	os, runtime, log, reflect, unsafe: cells see a part of them, which package cell declares (partial/)
//	    with what each member does, and which the host of an engine gives. The rest is files, processes
//	    and settings of the worker, its memory, or the stack and types of the engine
//	unique, weak, structs, testing/synctest: the engine has no symbols for them
var Allowed = []string{
	"bufio", "bytes", "cmp", "container/heap", "container/list", "container/ring", "context",
	"crypto/md5", "crypto/sha1", "crypto/sha256",
	"encoding/base64", "encoding/binary", "encoding/csv", "encoding/hex", "encoding/json",
	"errors", "fmt", "hash", "hash/crc32", "hash/fnv", "html", "io", "iter", "maps",
	"math", "math/big", "math/bits", "math/cmplx", "math/rand", "math/rand/v2",
	"path", "regexp", "slices", "sort", "strconv", "strings", "sync", "sync/atomic",
	"text/tabwriter", "text/template", "time", "unicode", "unicode/utf16", "unicode/utf8",
}

// GonumPath is what the paths of all packages of gonum begin with.
const GonumPath = "gonum.org/v1/gonum/"

// OfGonum says that a path is that of a package of gonum, be it in Gonum or not.
func OfGonum(path string) bool { return strings.HasPrefix(path, GonumPath) }

// Gonum lists the packages of gonum that a cell of the machine may import. Adding one means running go
// generate, and looking for members that reach beyond the cell (see GonumLeftOut).
//
// Left out on purpose:
//
//	blas/gonum, lapack/gonum, lapack/lapack64, blas/blas32, blas/cblas64: what mat is made of; the two
//	    packages of BLAS that are here are those whose types mat shows
//	stat/card: it keeps hash functions in a table of the process
//	graph, spatial, unit, num, dsp/transform: not arithmetic on data; nobody has asked for them, and graph alone would
//	    double the tables
var Gonum = []string{
	"gonum.org/v1/gonum/blas", "gonum.org/v1/gonum/blas/blas64", "gonum.org/v1/gonum/blas/cblas128",
	"gonum.org/v1/gonum/cmplxs", "gonum.org/v1/gonum/cmplxs/cscalar", "gonum.org/v1/gonum/diff/fd",
	"gonum.org/v1/gonum/dsp/fourier", "gonum.org/v1/gonum/dsp/window", "gonum.org/v1/gonum/floats",
	"gonum.org/v1/gonum/floats/scalar", "gonum.org/v1/gonum/integrate", "gonum.org/v1/gonum/integrate/quad",
	"gonum.org/v1/gonum/interp", "gonum.org/v1/gonum/lapack", "gonum.org/v1/gonum/mat",
	"gonum.org/v1/gonum/mathext", "gonum.org/v1/gonum/mathext/prng", "gonum.org/v1/gonum/optimize",
	"gonum.org/v1/gonum/optimize/convex/lp", "gonum.org/v1/gonum/optimize/functions", "gonum.org/v1/gonum/stat",
	"gonum.org/v1/gonum/stat/combin", "gonum.org/v1/gonum/stat/distmat", "gonum.org/v1/gonum/stat/distmv",
	"gonum.org/v1/gonum/stat/distuv", "gonum.org/v1/gonum/stat/mds", "gonum.org/v1/gonum/stat/samplemv",
	"gonum.org/v1/gonum/stat/sampleuv", "gonum.org/v1/gonum/stat/spatial",
}

// GonumLeftOut are the members of those packages that cells may not use, with the reason.
var GonumLeftOut = map[string]string{
	"gonum.org/v1/gonum/blas/blas64.Use":     ofProcess,
	"gonum.org/v1/gonum/blas/cblas128.Use":   ofProcess,
	"gonum.org/v1/gonum/optimize.NewPrinter": "it writes to the output of the process: use &optimize.Printer{Writer: os.Stdout}",
}

const ofProcess = "it would change the arithmetic of the whole process"
