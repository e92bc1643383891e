package upkeep

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

const (
	// readyWait bounds how long readyCommand waits for an answer.
	readyWait = 3 * time.Second

	// maxReady is how much of an answer is shown, in bytes.
	maxReady = 16 << 10
)

func readyCommand() *cobra.Command {
	url := "http://localhost:9001/readyz"
	ready := &cobra.Command{
		Use:   "ready",
		Short: "Ask the server on this machine whether it is ready",
		Long: `Ask the server on this machine whether it is ready, at its --admin-listen. It needs no
credentials and leaves no entry, so it is the probe of a container. Exit 0 says that every
part is ready.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, url, nil)
			if err != nil {
				return exit.Usagef("--url: %w", err)
			}
			resp, err := (&http.Client{Timeout: readyWait}).Do(req)
			if err != nil {
				return &exit.Error{Code: exit.NoConnection, Err: err}
			}
			defer resp.Body.Close()
			parts, err := io.ReadAll(io.LimitReader(resp.Body, maxReady))
			if err != nil {
				return err
			}
			if _, err := printable.NewWriter(cmd.OutOrStdout()).Write(parts); err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("the server is not ready: %s", resp.Status)
			}
			return nil
		},
	}
	ready.Flags().StringVar(&url, "url", url, "`URL` of /readyz of --admin-listen")
	return ready
}
