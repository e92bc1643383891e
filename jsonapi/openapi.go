package jsonapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"example.com/atm"
)

// Document is the OpenAPI document (3.1) of the methods. It must not be changed. The same methods
// make the same bytes.
func (s *Server[C]) Document() []byte { return s.document }

// An obj is an object of the document. Its members are written in order of their names.
type obj = map[string]any

// document writes the OpenAPI document.
func document[C any](methods []Method[C], cfg *Config[C]) ([]byte, error) {
	paths := obj{"/v1/" + multicallMethod: obj{"post": multicallOperation(cfg.Limits.Calls)}}
	schemas := baseSchemas()
	for i := range methods {
		m := &methods[i]
		name := schemaName(m.Name)
		schemas[name+"Args"] = m.schema()
		if m.Result != nil {
			schemas[name+"Answer"] = dictSchema([]string{"OK"}, resultSchema(m.Result), done)
		}
		paths["/v1/"+m.Name] = obj{"post": m.operation(name)}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(struct {
		OpenAPI    string `json:"openapi"`
		Info       obj    `json:"info"`
		Servers    []obj  `json:"servers"`
		Security   []obj  `json:"security"`
		Tags       []obj  `json:"tags"`
		Paths      obj    `json:"paths"`
		Components obj    `json:"components"`
	}{
		OpenAPI: "3.1.0",
		Info: obj{
			"title": "ATM", "version": "1", "description": description,
			"license": obj{"name": "Apache License 2.0", "identifier": "Apache-2.0"},
		},
		Servers:  []obj{{"url": cmp.Or(cfg.URL, "/")}},
		Security: []obj{{"mutualTLS": []string{}}, {"digest": []string{}}, {"bearer": []string{}}},
		Tags:     tags(methods), Paths: paths,
		Components: obj{
			"schemas": schemas, "responses": responses(), "parameters": obj{"IdempotencyKey": key},
			"securitySchemes": obj{
				"mutualTLS": obj{
					"type":        "mutualTLS",
					"description": "A certificate of the server's own authority, or one that is mapped.",
				},
				"digest": obj{"type": "http", "scheme": "digest"},
				"bearer": obj{"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
			},
		},
	})
	return b.Bytes(), err
}

const description = "Each method takes an object of named arguments and answers a status dict. " +
	"A member that is null is left out, and one that the method does not have is refused. " +
	"An amount is a string such as \"12.50\", which is taken exactly, or a number, of which the " +
	"text is read. Codes are stable; new ones may be added. A caller with a certificate may sign " +
	"a request with its key (RFC 9421, in the headers Signature-Input, Signature and " +
	"Content-Digest): the signature is verified first, and kept with the entry in the audit log."

var acceptSignature = obj{
	"schema":      obj{"type": "string"},
	"description": "What a signature has to cover, if that of the request was refused.",
}

var key = obj{
	"name": "Idempotency-Key", "in": "header", "required": false,
	"schema": obj{"type": "string", "minLength": 1, "maxLength": 258},
	"description": "Names this intention, 1 to 128 characters, as a string in quotation marks or " +
		"as it is: however often the call is sent, it happens once. It does the same as " +
		"request_id.",
	"example": `"8e03978e-40d5-43e8-bc93-6894a57f9324"`,
}

// schemaName is a name for the schemas of a method, such as AdminAccountOpen.
func schemaName(method string) string {
	var b strings.Builder
	between := func(r rune) bool { return r == '.' || r == '_' }
	for word := range strings.FieldsFuncSeq(method, between) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// area is the tag of a method: what its name begins with.
func area(method string) string {
	words := strings.Split(method, ".")
	switch {
	case len(words) == 1:
		return "money"
	case words[0] == "admin":
		return strings.Join(words[:min(2, len(words)-1)], ".")
	}
	return words[0]
}

func tags[C any](methods []Method[C]) (list []obj) {
	names := []string{"system"}
	for i := range methods {
		names = append(names, area(methods[i].Name))
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		list = append(list, obj{"name": name, "description": "Methods of " + name + "."})
	}
	return list
}

// operation describes a method.
func (m *Method[C]) operation(name string) obj {
	answer := "Answer"
	switch {
	case m.Result != nil:
		answer = name + "Answer"
	case m.Structured:
		answer = "RecordAnswer"
	}
	op := obj{
		"operationId": m.Name, "tags": []string{area(m.Name)}, "summary": firstSentence(m.Help),
		"description": m.Help,
		"requestBody": obj{"required": true, "content": obj{"application/json": obj{
			"schema": reference("schemas", name+"Args"), "example": m.example(),
		}}},
		"responses": allResponses(obj{
			"description": "The operation was carried out.",
			"content":     obj{"application/json": obj{"schema": reference("schemas", answer)}},
		}),
	}
	if m.Keyed {
		op["parameters"] = []obj{reference("parameters", "IdempotencyKey")}
	}
	return op
}

func firstSentence(help string) string {
	sentence, _, _ := strings.Cut(help, ". ")
	sentence, _, _ = strings.Cut(sentence, "; ")
	return strings.TrimSuffix(sentence, ".") + "."
}

func reference(kind, name string) obj { return obj{"$ref": "#/components/" + kind + "/" + name} }

// schema describes the arguments of a method.
func (m *Method[C]) schema() obj {
	properties, required := obj{}, []string{}
	for i := range m.Params {
		p := &m.Params[i]
		s := kindsSchema(p.Kinds)
		s["description"] = p.Help
		if p.Members != nil {
			members := obj{}
			for name, kinds := range p.Members {
				members[name] = kindsSchema(kinds)
			}
			s["properties"], s["additionalProperties"] = members, false
		}
		properties[p.Name] = s
		if !p.Optional {
			required = append(required, p.Name)
		}
	}
	s := obj{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// kindsSchema describes a value that is of one of these kinds.
func kindsSchema(kinds []atm.Kind) obj {
	var types []obj
	for _, k := range kinds {
		switch {
		case k == atm.Struct:
			return obj{"type": "object", "additionalProperties": true}
		case k == atm.String:
			types = append(types, obj{"type": "string"})
		case k == atm.Double:
			types = append(types, obj{"type": "number", "format": "double"})
		case !slices.Contains(kinds, atm.Double):
			types = append(types, obj{"type": "integer", "format": "int64"})
		}
	}
	if len(types) == 1 {
		return types[0]
	}
	return obj{"oneOf": types}
}

// example is an object of arguments: those that have an example, up to the first that has none.
func (m *Method[C]) example() obj {
	o := obj{}
	for i := range m.Params {
		if !m.Params[i].Example.Given() {
			break
		}
		o[m.Params[i].Name] = exampleValue(m.Params[i].Example)
	}
	return o
}

func exampleValue(a atm.Arg) any {
	switch a.Kind {
	case atm.Int, atm.Double:
		return json.Number(a.Text)
	case atm.Struct:
		o := obj{}
		for _, m := range a.Members {
			o[m.Name] = exampleValue(m.Arg)
		}
		return o
	}
	return a.Text
}

const exampleReceipt = "4711 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

// dictSchema describes a status dict whose result is as described.
func dictSchema(word []string, result obj, code obj, more ...string) obj {
	properties := obj{
		"status": obj{"type": "string", "enum": word},
		"reason": obj{"type": "string", "description": "Why it was refused; empty when OK."},
		"result": result, "code": code,
		"receipt": obj{
			"type": "string", "description": "Index and leaf hash of the entry in the audit log; " +
				"empty when there is none.",
		},
	}
	for _, name := range more {
		properties[name] = obj{"type": "string", "description": problemHelp[name]}
	}
	return obj{
		"type": "object", "properties": properties,
		"required": []string{"status", "reason", "result", "code", "receipt"},
	}
}

// problemHelp has the members of RFC 9457.
var problemHelp = map[string]string{
	"type":     "Where the code is explained, relative to the server (RFC 9457).",
	"title":    "A few words on the code.",
	"detail":   "The same as reason.",
	"instance": "Names the entry by its index; missing when there is none.",
}

// done is the code of what was carried out.
var done = obj{"type": "string", "enum": []string{string(atm.OK)}}

// resultSchema describes results like example. They may have more fields in a later version.
func resultSchema(example any) obj {
	switch v := example.(type) {
	case int64:
		return obj{"type": "integer", "format": "int64"}
	case bool:
		return obj{"type": "boolean"}
	case []string:
		return obj{"type": "array", "items": obj{"type": "string"}}
	case []atm.Record:
		return obj{"type": "array", "items": resultSchema(v[0])}
	case []any:
		all := make([]obj, len(v))
		for i := range v {
			all[i] = resultSchema(v[i])
		}
		return obj{"oneOf": all}
	case atm.Record:
		properties, names := obj{}, make([]string, len(v))
		for i, field := range v {
			properties[field.Name], names[i] = resultSchema(field.Value), field.Name
		}
		return obj{"type": "object", "properties": properties, "required": names}
	}
	return obj{"type": "string"}
}

func baseSchemas() obj {
	all := []string{}
	for _, c := range codes[1:] {
		all = append(all, string(c.Code))
	}
	refused := obj{"type": "string", "enum": all, "description": "Why, for programs."}
	anything := obj{"description": "A record, or a list of records; as the method says."}
	text := obj{"type": "string", "description": "What the method tells; empty for nothing."}
	ok := dictSchema([]string{"OK"}, text, done)
	ok["example"] = obj{
		"status": "OK", "reason": "", "result": "1609.00", "code": "OK", "receipt": exampleReceipt,
	}
	refusal := dictSchema([]string{"ERROR"}, obj{"type": "string"}, refused, "type", "title",
		"detail", "instance")
	refusal["required"] = append(refusal["required"].([]string), "type", "title", "detail")
	item := dictSchema([]string{"OK", "ERROR"}, anything, obj{
		"type": "string", "enum": append([]string{string(atm.OK)}, all...),
	}, "type", "title", "detail", "instance")
	return obj{
		"Answer": ok, "RecordAnswer": dictSchema([]string{"OK"}, anything, done),
		"Refusal": refusal, "Result": item,
	}
}

// statuses are the HTTP statuses of refusals, and when they are answered below the operations.
var statuses = []struct {
	status int
	plain  string // empty if only operations answer so
}{
	{http.StatusBadRequest, "The request is not a call: a broken body, two Idempotency-Keys."},
	{http.StatusUnauthorized, "The caller did not sign in."}, // or the signature is refused
	{http.StatusForbidden, "A page of another site sent the request."},
	{http.StatusNotFound, ""},
	{http.StatusConflict, ""},
	{http.StatusLengthRequired, "The request has no Content-Length."},
	{http.StatusRequestEntityTooLarge, "The body is too large."},
	{http.StatusUnsupportedMediaType, "The Content-Type is not application/json."},
	{http.StatusUnprocessableEntity, ""},
	{http.StatusTooManyRequests, "Too many sign-ins from the address have failed."},
	{http.StatusInternalServerError, ""},
	{http.StatusServiceUnavailable, "The server has too much on its way."},
}

// responses are the answers to refused calls, by HTTP status.
func responses() obj {
	all := obj{}
	for _, s := range statuses {
		content := obj{}
		description := s.plain
		if s.plain != "" {
			content["text/plain"] = obj{"schema": obj{"type": "string"}}
		}
		var first *Code
		for i := range codes {
			if c := &codes[i]; c.HTTP == s.status {
				first = cmp.Or(first, c)
				description += fmt.Sprintf("\n- `%s`: %s", c.Code, c.Help)
			}
		}
		if s.status == http.StatusBadRequest || s.status == http.StatusNotFound {
			first = &Code{Code: atm.Fault, Title: titleOf(atm.Fault)}
			description += "\n- `FAULT`: The body cannot be read, or there is no such method."
		}
		if s.status == http.StatusUnauthorized {
			first = &Code{Code: atm.Fault, Title: titleOf(atm.Fault), Help: unsignedHelp}
			description += "\n- `FAULT`: " + unsignedHelp
		}
		if first != nil {
			content["application/json"] = obj{
				"schema": reference("schemas", "Refusal"), "example": first.example(),
			}
		}
		refused := obj{"description": strings.TrimSpace(description), "content": content}
		if s.status == http.StatusUnauthorized {
			refused["headers"] = obj{"Accept-Signature": acceptSignature}
		}
		all["Refused"+strconv.Itoa(s.status)] = refused
	}
	return all
}

const unsignedHelp = "The signature is refused: the request says that it is signed (RFC 9421), " +
	"and its signature does not verify, or does not cover all that it must."

// example is the dict of a refusal with the code.
func (c *Code) example() obj {
	reason := c.Help
	if c.Code == atm.AccountNotFound {
		reason = "Account 999 was not found"
	}
	return obj{
		"status": "ERROR", "reason": reason, "result": "", "code": c.Code,
		"receipt": exampleReceipt, "type": "/#" + string(c.Code), "title": c.Title, "detail": reason,
		"instance": instance(exampleReceipt),
	}
}

// allResponses are those of a method, of which done is the one of a call that was carried out.
func allResponses(done obj) obj {
	all := obj{"200": done}
	for _, s := range statuses {
		name := strconv.Itoa(s.status)
		all[name] = reference("responses", "Refused"+name)
	}
	return all
}

func multicallOperation(most int) obj {
	return obj{
		"operationId": multicallMethod, "tags": []string{"system"},
		"summary": "Carries out calls in order.",
		"description": "Carries out calls in order, each for itself: one that is refused does not " +
			"keep the others from being carried out. Nothing is carried out when the list is " +
			"not as described. Idempotency-Key does not go with it: give each call a request_id.",
		"requestBody": obj{"required": true, "content": obj{"application/json": obj{
			"schema": obj{
				"type": "object", "required": []string{"calls"}, "additionalProperties": false,
				"properties": obj{"calls": obj{
					"type": "array", "maxItems": most, "items": obj{
						"type": "object", "required": []string{"method"},
						"additionalProperties": false,
						"properties": obj{
							"method": obj{"type": "string"},
							"params": obj{"type": "object", "additionalProperties": true},
						},
					},
				}},
			},
			"example": obj{"calls": []obj{{"method": "whoami", "params": obj{}}}},
		}}},
		"responses": allResponses(obj{
			"description": "Each call has a result, in their order.",
			"content": obj{"application/json": obj{"schema": obj{
				"type": "object", "required": []string{"results"}, "properties": obj{
					"results": obj{"type": "array", "items": reference("schemas", "Result")},
				},
			}}},
		}),
	}
}
