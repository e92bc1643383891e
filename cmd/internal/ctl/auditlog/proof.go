package auditlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"
)

func proveCommand(env *ctl.Env) *cobra.Command {
	var out, entryOut string
	cmd := &cobra.Command{
		Use:   "prove INDEX [DIR|URL]",
		Short: "Prove that an entry is in the audit log, in the form of C2SP tlog-proof",
		Example: "  atmctl audit prove 4 --out 4.tlog-proof --entry-out 4.json\n" +
			"  atmctl audit check 4.tlog-proof --entry 4.json --vkey log.vkey",
		Args: exit.Args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			log, index, err := openEntry(cmd.Context(), env, args)
			if err != nil {
				return err
			}
			for _, file := range []string{out, entryOut} {
				if file == "" {
					continue
				}
				if err := output.Check(file); err != nil {
					return err
				}
			}
			return proveEntry(cmd.Context(), env, log, index, out, entryOut)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` for the proof (default standard output)")
	cmd.Flags().StringVar(&entryOut, "entry-out", "", "`file` for the entry, byte for byte")
	return cmd
}

func proveEntry(ctx context.Context, env *ctl.Env, log *audit.Log, index int64, out,
	entryOut string,
) error {
	proof, err := log.Prove(ctx, index)
	if err != nil {
		return err
	}
	text, err := proof.MarshalText()
	if err != nil {
		return err
	}
	if entryOut != "" {
		err := log.Entries(ctx, index, index+1, func(_ int64, leaf []byte, _ merkle.Hash) error {
			return output.Write(ctx, entryOut, leaf, 0o600)
		})
		if err != nil {
			return err
		}
	}
	if out == "" {
		_, err := env.Verbatim().Write(text)
		return err
	}
	return output.Write(ctx, out, text, 0o644)
}

func checkCommand(env *ctl.Env) *cobra.Command {
	var entry, leafHash, vkey string
	cmd := &cobra.Command{
		Use:   "check FILE.tlog-proof --entry FILE | --leaf-hash HASH",
		Short: "Check the proof of an entry, offline",
		Long: `Check that a proof shows an entry to be in the log with the public key of --vkey. Name the
entry by its bytes (--entry) or by the leaf hash in its receipt (--leaf-hash). Without
--vkey the file log.vkey beside the proof is used, or else the one in ./atm-data/audit.

Exit codes: 0 the entry is in the log, 10 the proof cannot be checked, 11 signature, key
or origin is wrong, 12 the proof is not of this entry in the signed tree.`,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (entry == "") == (leafHash == "") {
				return exit.Usagef("either --entry or --leaf-hash is needed")
			}
			return checkEntry(env, args[0], entry, leafHash, vkey)
		},
	}
	cmd.Flags().StringVar(&entry, "entry", "", "`file` with the entry")
	cmd.Flags().StringVar(&leafHash, "leaf-hash", "", "`hash` of the entry, the second word of "+
		"its receipt")
	cmd.Flags().StringVar(&vkey, "vkey", "", "`file` with the public key of the log (default "+
		"log.vkey beside the proof, or in ./atm-data/audit)")
	return cmd
}

func checkEntry(env *ctl.Env, path, entry, leafHash, vkey string) error {
	if vkey == "" {
		vkey = keyFor(path)
		env.Warn("the key " + vkey + " was used: it proves nothing against somebody who could " +
			"replace it and the proof; name one with --vkey")
	}
	report, err := checkProof(path, entry, leafHash, vkey)
	if err != nil {
		return err
	}
	if env.IsJSON() {
		if err := env.WriteJSON(report); err != nil {
			return err
		}
		return ctl.Silent(report.Code)
	}
	if !report.OK() {
		output.Verdict(env.Stderr, false, "not verified", report.Sentence)
		return ctl.Silent(report.Code)
	}
	return output.Verdict(env.Stdout, true, "verified", report.Sentence)
}

// keyFor returns the default key file for a proof.
func keyFor(proof string) string {
	beside, ours := filepath.Join(filepath.Dir(proof), "log.vkey"), filepath.Join(defaultLog,
		"log.vkey")
	if _, err := os.Stat(beside); err != nil {
		if _, err := os.Stat(ours); err == nil {
			return ours
		}
	}
	return beside
}

// checkProof checks a proof. If a file cannot be read, the report says that nothing is proved.
func checkProof(path, entry, leafHash, vkey string) (*audit.Report, error) {
	text, err := ctl.ReadNamed(path)
	if err != nil {
		return audit.Unverifiable(err), nil
	}
	proof, err := audit.ParseProof(text)
	if err != nil {
		return audit.Unverifiable(fmt.Errorf("%s: %w", path, err)), nil
	}
	key, err := ctl.ReadNamed(vkey)
	if err != nil {
		return audit.Unverifiable(err), nil
	}
	if leafHash != "" {
		hash, err := tlog.ParseHash(leafHash)
		if err != nil {
			return nil, exit.Usagef("%q is not a leaf hash", leafHash)
		}
		return proof.CheckHash(hash, string(key)), nil
	}
	leaf, err := ctl.ReadNamed(entry)
	if err != nil {
		return audit.Unverifiable(err), nil
	}
	if len(leaf) == 0 {
		return audit.Unverifiable(errors.New(entry + " is empty")), nil
	}
	return proof.Check(leaf, string(key)), nil
}
