package auditlog

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/policy"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

func witnessCommand(env *ctl.Env) *cobra.Command {
	var policy string
	push := &cobra.Command{
		Use:   "push [DIR] --policy FILE",
		Short: "Have the witnesses of a policy cosign the checkpoint",
		Long: `Send the checkpoint of a published log to the witnesses in the policy that have a URL
(C2SP tlog-witness), with the proof that it extends the one that they saw last, and keep
their cosignatures with it. A server with --witness-policy does so every minute.`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if policy == "" {
				return exit.Usagef("--policy is missing: a file with witnesses and their URLs")
			}
			where := defaultLog
			if len(args) == 1 {
				where = args[0]
			}
			return pushWitnesses(cmd.Context(), env, where, policy)
		},
	}
	push.Flags().StringVar(&policy, "policy", "", "`file` with the witnesses")
	return ctl.Group(&cobra.Command{Use: "witness", Short: "Witnesses of the audit log"}, push)
}

func pushWitnesses(ctx context.Context, env *ctl.Env, dir, policyFile string) error {
	text, err := ctl.ReadNamed(policyFile)
	if err != nil {
		return err
	}
	policy, err := policy.Parse(text)
	if err != nil {
		return exit.Usagef("%s: %w", policyFile, err)
	}
	if strings.Contains(dir, "://") {
		return exit.Usagef("cosignatures are kept in a folder, not at %s", dir)
	}
	log, err := audit.OpenLogBeside(ctx, audit.Dir(dir))
	if err != nil {
		return err
	}
	lines, errs := log.CosignAll(ctx, &http.Client{Timeout: 30 * time.Second}, policy)
	for _, err := range errs {
		env.Warn(err.Error())
	}
	if len(lines) == 0 {
		return errors.New("no witness cosigned the checkpoint")
	}
	if err := log.SaveCosigned(lines); err != nil {
		return err
	}
	names := policy.Cosigned(log.WithCosignatures(lines))
	result := map[string]any{"size": log.Size, "witnesses": names}
	if err := env.Tell(result, "cosigned: %d entries by %s", log.Size,
		strings.Join(names, ", ")); err != nil {
		return err
	}
	if !policy.Satisfied(names) {
		return ctl.Silent(audit.TooOld)
	}
	return nil
}
