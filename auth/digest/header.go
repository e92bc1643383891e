package digest

import (
	"crypto/sha256"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/atm"
)

const maxHeader = 4 << 10 // bytes

// Claimed is the user name that an Authorization header claims without proof, or "" if it
// claims none.
func Claimed(header string) string {
	if p, err := parse(header); err == nil {
		return p.username
	}
	return ""
}

// credentials are the parameters of an Authorization header.
type credentials struct {
	username, realm, nonce, uri, response, qop, count, cnonce string

	number uint64 // count
}

const errMalformed = Refused("malformed digest")

// parse parses the credentials of an Authorization header with the scheme Digest. Each
// parameter may occur once, and the required parameters must be present.
func parse(header string) (*credentials, error) {
	_, rest, found := strings.Cut(header, " ")
	if !found || len(header) > maxHeader {
		return nil, errMalformed
	}
	var params params
	// A list may have empty elements (RFC 9110, section 5.6.1.2).
	const between = " \t,"
	for rest = strings.TrimLeft(rest, between); rest != ""; {
		name, value, more, ok := cutParam(rest)
		if !ok || !params.add(strings.ToLower(name), value) {
			return nil, errMalformed
		}
		rest = strings.TrimLeft(more, between)
	}
	p := &credentials{
		username: params.get("username"), realm: params.get("realm"), nonce: params.get("nonce"),
		uri:      params.get("uri"),
		response: params.get("response"), qop: params.get("qop"), count: params.get("nc"),
		cnonce: params.get("cnonce"),
	}
	if extended, has := params.find("username*"); has {
		name, ok := decodeExtended(extended)
		if !ok || p.username != "" {
			return nil, errMalformed
		}
		p.username = name
	}
	if hashed, has := params.find("userhash"); has && !strings.EqualFold(hashed, "false") {
		return nil, Refused("digest with a hashed user name")
	}
	if !strings.EqualFold(params.get("algorithm"), "SHA-256") {
		return nil, Refused("digest of another algorithm")
	}
	if p.qop != "auth" && p.qop != "auth-int" {
		return nil, Refused("digest without qop")
	}
	var err error
	if p.number, err = strconv.ParseUint(p.count, 16, 32); err != nil || len(p.count) != 8 ||
		p.number == 0 {
		return nil, errMalformed
	}
	if p.username == "" || p.nonce == "" || p.uri == "" || p.cnonce == "" ||
		len(p.response) != 2*sha256.Size {
		return nil, errMalformed
	}
	if _, _, ok := atm.ParseSubject("user:" + p.username); !ok {
		return nil, errWrong // no user can have this name
	}
	p.response = strings.ToLower(p.response)
	return p, nil
}

// decodeExtended decodes an extended value of RFC 8187, such as UTF-8'en'J%C3%BCrgen. The
// language is optional and ignored.
func decodeExtended(value string) (name string, ok bool) {
	charset, value, found := strings.Cut(value, "'")
	_, value, foundAgain := strings.Cut(value, "'")
	if !found || !foundAgain || !strings.EqualFold(charset, "UTF-8") {
		return "", false
	}
	name, err := url.PathUnescape(value)
	return name, err == nil && utf8.ValidString(name)
}

// quoted is s as a quoted string. Only the characters that need it are escaped.
func quoted(s string) string { return `"` + quoting.Replace(s) + `"` }

var quoting = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

// plainQuoted is the length of the quoted string at the start of s if it has no backslash and
// no forbidden character, and 0 otherwise.
func plainQuoted(s string) int {
	if s == "" || s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c == '\\' || c < ' ' || c == 0x7f:
			return 0
		}
	}
	return 0
}

// maxParams bounds the parameters of a header. RFC 7616 has twelve.
const maxParams = 32

// params are the parameters of a header.
type params struct {
	list [maxParams]struct{ name, value string }
	n    int
}

// add adds a parameter, unless it occurred before or there are too many.
func (p *params) add(name, value string) bool {
	if _, twice := p.find(name); twice || p.n == maxParams {
		return false
	}
	p.list[p.n].name, p.list[p.n].value = name, value
	p.n++
	return true
}

func (p *params) find(name string) (value string, has bool) {
	for i := range p.n {
		if p.list[i].name == name {
			return p.list[i].value, true
		}
	}
	return "", false
}

func (p *params) get(name string) string {
	value, _ := p.find(name)
	return value
}

// cutParam reads one parameter, a token or a quoted string, and the comma after it.
func cutParam(s string) (name, value, rest string, ok bool) {
	name, s, found := strings.Cut(s, "=")
	name = strings.TrimRight(name, " \t")
	if !found || name == "" || strings.ContainsAny(name, " \t\",;") {
		return "", "", "", false
	}
	s = strings.TrimLeft(s, " \t")
	if end := plainQuoted(s); end > 0 {
		value, s = s[1:end-1], s[end:]
	} else if strings.HasPrefix(s, `"`) {
		var b strings.Builder
		i := 1
		for ; i < len(s) && s[i] != '"'; i++ {
			if s[i] == '\\' {
				i++
			}
			if i >= len(s) || s[i] < ' ' || s[i] == 0x7f {
				return "", "", "", false
			}
			b.WriteByte(s[i])
		}
		if i >= len(s) {
			return "", "", "", false
		}
		value, s = b.String(), s[i+1:]
	} else {
		end := strings.IndexAny(s, ", \t")
		if end < 0 {
			end = len(s)
		}
		value, s = s[:end], s[end:]
		if value == "" || strings.ContainsAny(value, "\"\\;") {
			return "", "", "", false
		}
	}
	s = strings.TrimLeft(s, " \t")
	if s == "" {
		return name, value, "", true
	}
	s, found = strings.CutPrefix(s, ",")
	return name, value, s, found
}

// hash is the response for these credentials (RFC 7616, section 3.4.1).
func (p *credentials) hash(ha1, ha2 string) string {
	var buf [512]byte
	b := append(buf[:0], ha1...)
	for _, part := range [...]string{p.nonce, p.count, p.cnonce, p.qop, ha2} {
		b = append(append(b, ':'), part...)
	}
	return hexHash(b)
}
