// Command atmctl is the operator's and the auditor's command line.
package main

import "example.com/atm/cmd/internal/ctl/program"

func main() { program.Main() }
