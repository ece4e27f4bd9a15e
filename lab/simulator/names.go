package main

import "strings"

// vCenter escapes three characters in the names of objects. A client may send a name with or without escapes.
var (
	escapes  = strings.NewReplacer("%", "%25", "/", "%2f", `\`, "%5c")
	unescape = strings.NewReplacer("%2f", "/", "%2F", "/", "%5c", `\`, "%5C", `\`, "%25", "%")
)

// escaped is a name as vCenter stores and shows it.
func escaped(name string) string { return escapes.Replace(unescape.Replace(name)) }

// unescaped is a name as a person writes it.
func unescaped(name string) string { return unescape.Replace(name) }
