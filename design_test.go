package atm_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

const designPage = "docs/design.md"

// firstCells returns what stands in backquotes in the first column of the table below a heading.
func firstCells(t *testing.T, heading string) (cells []string) {
	t.Helper()
	page := readFile(t, designPage)
	_, section, found := strings.Cut(page, "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", designPage, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| `") {
			for _, quoted := range backquoted.FindAllString(strings.Split(line, "|")[1], -1) {
				cells = append(cells, strings.Trim(quoted, "`"))
			}
		}
	}
	return cells
}

var backquoted = regexp.MustCompile("`[^`]+`")

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDesignGivesTheReasonForEachDirectDependency(t *testing.T) {
	mod, err := modfile.Parse("go.mod", []byte(readFile(t, "go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	listed := firstCells(t, "Direct dependencies")
	for _, require := range mod.Require {
		if at := slices.Index(listed, require.Mod.Path); at >= 0 {
			listed = slices.Delete(listed, at, at+1)
		} else if !require.Indirect {
			t.Errorf("%s gives no reason for %s", designPage, require.Mod.Path)
		}
	}
	for _, module := range listed {
		t.Errorf("%s gives a reason for %s, which go.mod does not require", designPage, module)
	}
}

func TestDesignListsEachPackage(t *testing.T) {
	listed := firstCells(t, "Packages")
	for i, folder := range listed {
		if slices.Contains(listed[:i], folder) {
			t.Errorf("%s lists %s twice", designPage, folder)
		}
		if _, err := os.Stat(folder); err != nil && folder != "atm" {
			t.Errorf("%s lists %s, which does not exist", designPage, folder)
		}
	}
	sources(t, ".go", func(file, _ string) {
		folder := path.Dir(filepath.ToSlash(file))
		top, _, _ := strings.Cut(folder, "/")
		if slices.Contains([]string{"bench", "examples"}, top) {
			folder = top // small programs, one row for all of them
		}
		if !slices.Contains(listed, folder) {
			t.Errorf("%s does not list %s", designPage, folder)
			listed = append(listed, folder)
		}
	})
}

// place is a name and the file that it is in, as the page says where something is.
var place = regexp.MustCompile("`([A-Za-z.]+)` in\\s`([a-z/]+\\.go)`")

func TestDesignNamesTheFileOfEachFunction(t *testing.T) {
	found := place.FindAllStringSubmatch(readFile(t, designPage), -1)
	if len(found) < 6 {
		t.Fatalf("%s names %d places", designPage, len(found))
	}
	for _, f := range found {
		receiver, name, isMethod := strings.Cut(f[1], ".")
		declared := `(?m)^(func|var|const|type) ` + receiver + `\b`
		if isMethod {
			declared = `(?m)^func \(\w+ \*?` + receiver + `\) ` + name + `\(`
		}
		if !regexp.MustCompile(declared).MatchString(readFile(t, f[2])) {
			t.Errorf("%s says that %s is in %s; it is not", designPage, f[1], f[2])
		}
	}
}

func TestOnlyMoveChangesABalance(t *testing.T) {
	assigned := 0
	sources(t, ".go", func(file, text string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range parsed.Decls {
			function, _ := declared.(*ast.FuncDecl)
			ast.Inspect(declared, func(n ast.Node) bool {
				assignment, is := n.(*ast.AssignStmt)
				if !is {
					return true
				}
				for _, left := range assignment.Lhs {
					field, is := left.(*ast.SelectorExpr)
					if !is || field.Sel.Name != "Balance" {
						continue
					}
					if of, is := field.X.(*ast.Ident); is && of.Name == "row" {
						continue // a row of a statement shows a balance; it is no account
					}
					assigned++
					if filepath.ToSlash(file) != "vault/books.go" || function == nil ||
						function.Name.Name != "move" {
						t.Errorf("%s assigns a balance outside Books.move", file)
					}
				}
				return true
			})
		}
	})
	if assigned != 2 {
		t.Errorf("a balance is assigned on %d lines, not on 2", assigned)
	}
}

var testName = regexp.MustCompile(`\bTest[A-Z][A-Za-z0-9]+`)

func TestDocumentsNameTestsThatExist(t *testing.T) {
	var defined []string
	sources(t, "_test.go", func(_, text string) {
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(text,
			-1) {
			defined = append(defined, m[1])
		}
	})
	check := func(file, text string) {
		for _, name := range testName.FindAllString(text, -1) {
			if !slices.ContainsFunc(defined, func(d string) bool { // -run takes the start of a name
				return strings.HasPrefix(d, name)
			}) {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
	}
	sources(t, ".md", check)
	check("Makefile", readFile(t, "Makefile"))
}
