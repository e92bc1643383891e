package xmlrpc

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// pythonProgram parses documents with xmlrpc.client. Each is prefixed by its length in four
// bytes. The answer is a line in the form of function canonical.
const pythonProgram = `
import json, struct, sys, xmlrpc.client
sys.set_int_max_str_digits(0)

def text(s):
    return json.dumps(s)

def form(v):
    if v is None: return "nil"
    if v is True or v is False: return "boolean %d" % v
    if isinstance(v, int): return "int %d" % v
    if v != v: return "double nan"
    if isinstance(v, float): return "double " + struct.pack(">d", v).hex()
    if isinstance(v, str): return "string " + text(v)
    if isinstance(v, xmlrpc.client.DateTime): return "date " + text(v.value)
    if isinstance(v, xmlrpc.client.Binary): return "base64 " + v.data.hex()
    if isinstance(v, (list, tuple)): return "[" + ", ".join(form(i) for i in v) + "]"
    if isinstance(v, dict): return "{" + ", ".join(text(k) + ": " + form(i) for k, i in v.items()) + "}"
    raise TypeError(type(v))

while True:
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        break
    document = sys.stdin.buffer.read(struct.unpack(">I", head)[0])
    try:
        params, method = xmlrpc.client.loads(document)
        answer = method.strip(" \t\r\n") + form(params)
    except Exception as e:
        answer = "error " + repr(e)
    print(answer, flush=True)
`

// A pythonParser is a Python process that parses documents one by one.
type pythonParser struct {
	mu  sync.Mutex // held from a document to its answer
	in  io.Writer
	out *bufio.Reader
}

func startPython(f *testing.F) *pythonParser {
	command := exec.Command("python3", "-c", pythonProgram)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		f.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	if err := command.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		in.Close()
		if err := command.Wait(); err != nil {
			f.Error(err)
		}
	})
	return &pythonParser{in: in, out: bufio.NewReader(out)}
}

func (p *pythonParser) parse(t *testing.T, document []byte) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	message := binary.BigEndian.AppendUint32(nil, uint32(len(document)))
	if _, err := p.in.Write(append(message, document...)); err != nil {
		t.Fatal(err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n")
}

// canonical writes a call in a form that both languages can produce. Numbers are compared by
// value.
func canonical(c call) string { return c.method + canonicalValue(ArrayValue(c.args...)) }

func canonicalValue(v Value) string {
	switch v.Kind {
	case Nil:
		return "nil"
	case Int:
		n, ok := new(big.Int).SetString(v.Text, 10)
		if !ok {
			return "no number: " + v.Text
		}
		return "int " + n.String()
	case Boolean:
		return "boolean " + v.Text
	case Double:
		if strings.EqualFold(strings.TrimLeft(v.Text, "+-"), "nan") {
			return "double nan"
		}
		f, _ := strconv.ParseFloat(v.Text, 64) // infinite if out of range, as in Python
		return fmt.Sprintf("double %016x", math.Float64bits(f))
	case DateTime:
		return "date " + canonicalText(v.Text)
	case Base64:
		return "base64 " + hex.EncodeToString([]byte(v.Text))
	case Array:
		items := make([]string, len(v.Items))
		for i, item := range v.Items {
			items[i] = canonicalValue(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case Struct:
		members := make([]string, len(v.Members))
		for i, m := range v.Members {
			members[i] = canonicalText(m.Name) + ": " + canonicalValue(m.Value)
		}
		return "{" + strings.Join(members, ", ") + "}"
	}
	return "string " + canonicalText(v.Text)
}

// canonicalText is s as Python's json.dumps writes it.
func canonicalText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
