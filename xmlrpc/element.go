package xmlrpc

// An element is an XML-RPC element, identified by name and namespace.
type element uint8

// The elements. Those from intElement on have a value.
const (
	foreignElement element = iota // not an element of XML-RPC
	methodCallElement
	methodNameElement
	paramsElement
	paramElement
	valueElement
	dataElement
	memberElement
	nameElement

	intElement
	i1Element
	i2Element
	i8Element
	bigIntegerElement
	booleanElement
	stringElement
	doubleElement
	dateTimeElement
	base64Element
	nilElement
	arrayElement
	structElement
)

// extensions is the namespace in which Apache's library and its successors put extensions of
// the specification (https://ws.apache.org/xmlrpc/types.html).
const extensions = "http://ws.apache.org/xmlrpc/namespaces/extensions"

// elementNamed returns the element with a name without namespace.
func elementNamed(local []byte) element {
	switch string(local) {
	case "value":
		return valueElement
	case "param":
		return paramElement
	case "int", "i4":
		return intElement
	case "string":
		return stringElement
	case "double":
		return doubleElement
	case "member":
		return memberElement
	case "name":
		return nameElement
	case "struct":
		return structElement
	case "array":
		return arrayElement
	case "data":
		return dataElement
	case "i8":
		return i8Element
	case "boolean":
		return booleanElement
	case "dateTime.iso8601":
		return dateTimeElement
	case "base64":
		return base64Element
	case "nil":
		return nilElement
	case "methodCall":
		return methodCallElement
	case "methodName":
		return methodNameElement
	case "params":
		return paramsElement
	}
	return foreignElement
}

// extensionNamed returns the element with a name in the namespace of the extensions. Those with
// XML or serialised objects are not supported.
func extensionNamed(local []byte) element {
	switch string(local) {
	case "nil":
		return nilElement
	case "i1":
		return i1Element
	case "i2":
		return i2Element
	case "i8":
		return i8Element
	case "biginteger":
		return bigIntegerElement
	case "float", "bigdecimal":
		return doubleElement
	case "dateTime":
		return dateTimeElement
	}
	return foreignElement
}
