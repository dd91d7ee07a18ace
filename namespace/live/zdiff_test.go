package live
import ("testing";"os";"strings";"fmt";"io")
func TestZDiff(t *testing.T) {
 b, err := os.ReadFile("/tmp/ovl/diff/body.txt"); if err != nil { t.Skip() }
 w, _ := os.ReadFile("/tmp/ovl/diff/want.txt")
 lines := strings.Split(strings.TrimSpace(string(w)), "\n")
 bodies := strings.Split(strings.TrimSpace(string(b)), "\n")
 e := newBare(t); _ = io.Discard
 if _, err := e.run(t, `import ("bufio";"bytes";"context";"encoding/json";"errors";"fmt";"math";"sort";"strconv";"strings";"sync";"time")`); err != nil { t.Fatal(err) }
 for _, d := range bodies { if _, err := e.run2(t, d); err != nil && !strings.HasPrefix(d, "func t") { fmt.Println("DECL", d, err) } else if err != nil { fmt.Println("DECL", d[:12], err) } }
 for i, l := range lines { got, err := e.run2(t, fmt.Sprintf("fmt.Sprintln(%d, t%d())", i+1, i+1)); if err != nil || strings.TrimSpace(got) != l { fmt.Printf("want %s\n got %s %v\n", l, strings.TrimSpace(got), err) } }
}

func (b *bare) run2(t *testing.T, src string) (string, error) { g, err := b.run(t, src); if err != nil { b.l = b.engine(t) }; return g, err }
