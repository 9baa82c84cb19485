package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/backup"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/cmd/lightning-cli/restore"
	"github.com/lightning-db/lightning/internal/build"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/router"
)

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Write all keys, values and expiries into a directory; verify such a directory",
		Long: "Write the keys, values and expiries of all shards into a directory that is empty or new, while the cluster\n" +
			"works. Each shard is a consistent cut: what it held after one entry of its log. The cuts of two shards are of\n" +
			"different moments. The directory is a backup only when the command has succeeded.",
		Args: arguments(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error { return a.backUp(cmd.Context(), c, filepath.ToSlash(args[0])) })
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "verify DIR",
		Short: "Read every byte of a backup and name what is damaged",
		Long: "Read every byte of a backup, and name the first damage of each file with its offset. Then the exit code\n" +
			"is 9. No cluster is needed.",
		Args: arguments(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.verify(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printBackup("verified", &b.Manifest, args[0])
		},
	})
	return cmd
}

func (a *app) backUp(ctx context.Context, c *client.Client, dir string) error {
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	p := a.startProgress("rows")
	o := backup.Options{
		Cluster: status.GetMap().GetClusterId(), Version: build.Current().Version, TimeMillis: uint64(time.Now().UnixMilli()),
		Revision: status.GetMap().GetRevision(), Progress: p.count,
	}
	if _, err := entropy.System().Read(o.ID[:]); err != nil {
		p.end()
		return fmt.Errorf("make an id for the backup: %w", err)
	}
	m, err := backup.Write(ctx, vfs.OS(), dir, shardsOfCluster(c), o)
	p.end()
	if err != nil {
		return err
	}
	return a.printBackup("backed up", m, dir)
}

// shardsOfCluster reads the shards of a backup from a cluster.
func shardsOfCluster(c *client.Client) backup.Source {
	return func(ctx context.Context, slot api.Slot, to backup.Sink) (rows, bytes uint64, err error) {
		end, err := c.BackupShard(ctx, slot, func(cut *pb.BackupCut) error {
			return to.Begin(backup.Cut{
				Shard: api.ShardID(cut.GetShardId()), Arc: router.Arc{Start: cut.GetStartSlot(), End: cut.GetEndSlot()}, Epoch: cut.GetEpoch(),
				Index: cut.GetAppliedIndex(), TimeMillis: cut.GetShardTimeMs(),
			})
		}, to.Block)
		return end.GetRows(), end.GetBytes(), err
	}
}

func (a *app) verify(ctx context.Context, dir string) (*backup.Backup, error) {
	p := a.startProgress("rows")
	b, err := backup.Verify(ctx, vfs.OS(), filepath.ToSlash(dir), p.count)
	p.end()
	return b, err
}

func (a *app) printBackup(what string, m *backup.Manifest, dir string) error {
	view := struct {
		*backup.Manifest
		Rows  uint64         `json:"rows"`
		Bytes uint64         `json:"file_bytes"`
		Files []backup.Shard `json:"files"`
	}{Manifest: m, Files: m.Shards}
	for _, s := range m.Shards {
		view.Rows, view.Bytes = view.Rows+s.Rows, view.Bytes+uint64(s.Size)
	}
	if a.json() {
		return a.printJSON(view)
	}
	return a.printf("%s %d rows of %d shards, %s, in %s\n", what, view.Rows, m.Count, byteText(view.Bytes), dir)
}

func (a *app) restoreCommand() *cobra.Command {
	var resume bool
	cmd := &cobra.Command{
		Use:   "restore DIR",
		Short: "Write a backup into an empty cluster of any size",
		Long: "Verify a backup, write it into a cluster that has no keys, and compare the two. Nothing is written if the\n" +
			"backup is damaged. Expiries stay what they were; what has expired is left out.\n\n" +
			"A restore that broke off goes on with --resume. It overwrites nothing, and the comparison at the end finds\n" +
			"keys that are not the backup's. Clients should not write before it is done.",
		Args: arguments(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := a.verify(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error { return a.restore(cmd.Context(), c, b, resume) })
		},
	}
	cmd.Flags().BoolVar(&resume, "resume", false, "go on with a restore that broke off")
	return cmd
}

func (a *app) restore(ctx context.Context, c *client.Client, b *backup.Backup, resume bool) error {
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	p := a.startProgress("rows")
	done, err := restore.Restore(ctx, b, c, restore.Options{
		Resume: resume, NowMillis: uint64(time.Now().UnixMilli()), Group: byShard(status.GetMap()), Progress: p.count,
	})
	p.end()
	if err != nil {
		if done.Written > 0 && !errors.Is(err, context.Canceled) {
			_, _ = fmt.Fprintln(a.stderr, "restore --resume goes on with it")
		}
		return err
	}
	if a.json() {
		return a.printJSON(done)
	}
	return a.printf("restored %d rows: %d written, %d existing, %d expired; the cluster has %d keys and is what the backup is\n",
		done.Rows, done.Written, done.Existing, done.Expired, done.Compared)
}
