//go:build !image

package main

func main() { serverMain() }
