// Verifies a record with other people's programs: Tessera, torchwood and golang.org/x/mod. It contains no code of
// Assent.
//
//	verify-record log DIRECTORY VKEY          all tiles and entries follow from the checkpoint
//	verify-record proof POLICY PROOF          the proof leads to a checkpoint that the policy trusts
//	verify-record note NOTE VKEY              the key signed the note
//	verify-record append DIRECTORY OUTPUT KEY writes the same entries with Tessera's appender
//	verify-record cosign CHECKPOINT LOG NAME  prints the key of a new witness, and adds its cosignature to the file
package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A worker of fsck ends at its first bad tile. With too few workers, fsck waits for ever (tessera#1098).
const workers = 64

// The limit for one verification.
const limit = time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run(ctx, os.Args[1:]) }()
	select {
	case err := <-done:
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case <-ctx.Done():
		fmt.Fprintln(os.Stderr, "not verified within", limit)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 3 && args[0] == "log":
		return verifyLog(ctx, args[1], args[2])
	case len(args) == 3 && args[0] == "proof":
		return verifyProof(args[1], args[2])
	case len(args) == 3 && args[0] == "note":
		return verifyNote(args[1], args[2])
	case len(args) == 4 && args[0] == "append":
		return appendEntries(ctx, args[1], args[2], args[3])
	case len(args) == 4 && args[0] == "cosign":
		return cosign(args[1], args[2], args[3])
	}
	return errors.New("usage: see the source")
}

func verifyLog(ctx context.Context, directory, vkey string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	check := fsck.New(verifier.Name(), verifier, &client.FileFetcher{Root: directory}, leafHashes, fsck.Opts{N: workers})
	return check.Check(ctx)
}

func leafHashes(bundle []byte) ([][]byte, error) {
	entries := api.EntryBundle{}
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func verifyProof(policyFile, proofFile string) error {
	text, err := os.ReadFile(policyFile)
	if err != nil {
		return err
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return err
	}
	proof, err := os.ReadFile(proofFile)
	if err != nil {
		return err
	}
	entry, err := torchwood.ProofExtraData(proof)
	if err != nil {
		return err
	}
	return torchwood.VerifyProof(policy, tlog.RecordHash(entry), proof)
}

func verifyNote(file, vkey string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	_, err = note.Open(text, note.VerifierList(verifier))
	return err
}

// cosign adds the cosignature of a witness with a new key.
func cosign(file, vkey, name string) error {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	signer, err := torchwood.NewCosignatureSigner(name, private)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	signed, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	text, err = note.Sign(signed, signer)
	if err != nil {
		return err
	}
	fmt.Println(signer.Verifier())
	return os.WriteFile(file, text, 0o644)
}

// appendEntries writes the entries of a record to a new log of Tessera, so that its tiles can be compared.
func appendEntries(ctx context.Context, directory, output, key string) error {
	signer, err := note.NewSigner(key)
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: output})
	if err != nil {
		return err
	}
	source := &client.FileFetcher{Root: directory}
	checkpoint, err := source.ReadCheckpoint(ctx)
	if err != nil {
		return err
	}
	var size uint64
	if _, err := fmt.Sscan(strings.Split(string(checkpoint), "\n")[1], &size); err != nil {
		return err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(100*time.Millisecond).
		WithBatching(256, time.Second)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	for first := uint64(0); first < size; first += 256 {
		width := uint8(0)
		if size-first < 256 {
			width = uint8(size - first)
		}
		file, err := source.ReadEntryBundle(ctx, first/256, width)
		if err != nil {
			return err
		}
		bundle := api.EntryBundle{}
		if err := bundle.UnmarshalText(file); err != nil {
			return err
		}
		var futures []tessera.IndexFuture
		for _, entry := range bundle.Entries {
			futures = append(futures, appender.Add(ctx, tessera.NewEntry(entry)))
		}
		for _, future := range futures {
			if _, _, err := awaiter.Await(ctx, future); err != nil {
				return err
			}
		}
	}
	root := strings.Split(string(checkpoint), "\n")[2]
	published, err := reader.ReadCheckpoint(ctx)
	if err != nil {
		return err
	}
	if got := strings.Split(string(published), "\n")[2]; got != root {
		return fmt.Errorf("the root is %s, and Tessera's is %s", root, got)
	}
	return shutdown(ctx)
}
