// Package packages is the table of standard packages a cell may import. It is apart from typeinfo so
// that the generator of the embedded data does not need the data.
package packages

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
//	    and settings of the worker, its memory, or the stack and types of the interpreter
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
