package datastore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Limits of the protocol (networking.c): arguments of a command, bytes of one.
const (
	maxArguments = 1 << 20
	maxArgument  = 512 << 20
)

var (
	errTorn  = errors.New("a command that was cut off")
	errAlien = errors.New("what is no command")
)

// readAOF walks over an append-only file: perhaps a snapshot, then commands in the
// protocol of Redis (redis.io/docs/reference/protocol-spec, arrays of bulk strings)
// and lines of comment.
func readAOF(ctx context.Context, r io.Reader) (State, string, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	head, err := in.Peek(9)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", "", err
	}
	if _, ok := rdbVersion(head); ok {
		passed, err := skipRDB(ctx, in)
		if err != nil {
			return "", "", err
		}
		if !passed {
			return Unknown, "it begins with a snapshot whose end is not found (without a checksum, or cut off)", nil
		}
	}
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return "", "", err
		}
		switch err := command(in); {
		case errors.Is(err, io.EOF):
			return Clean, fmt.Sprintf("%d whole commands", n), nil
		case errors.Is(err, errTorn):
			return Unclean, fmt.Sprintf("%v, behind %d whole ones: the server did not stop by itself", err, n), nil
		case errors.Is(err, errAlien):
			return Unknown, fmt.Sprintf("%v, behind %d commands", err, n), nil
		case err != nil:
			return "", "", err
		}
	}
}

// command reads one command or comment; io.EOF says that there is none.
func command(in *bufio.Reader) error {
	if _, err := in.Peek(1); err != nil {
		return err
	}
	line, err := protocolLine(in)
	if err != nil {
		return err
	}
	if line[0] == '#' {
		return nil
	}
	count, err := number(line, '*', maxArguments)
	for range count {
		if err == nil {
			err = argument(in)
		}
	}
	return err
}

func argument(in *bufio.Reader) error {
	line, err := protocolLine(in)
	if err != nil {
		return err
	}
	size, err := number(line, '$', maxArgument)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, in, size); err != nil {
		return torn(err)
	}
	end := make([]byte, 2)
	if _, err := io.ReadFull(in, end); err != nil {
		return torn(err)
	}
	if string(end) != "\r\n" {
		return errAlien
	}
	return nil
}

// protocolLine is a line without its end, never empty.
func protocolLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errAlien
	}
	if err != nil {
		return nil, torn(err)
	}
	if line = bytes.TrimSuffix(line, []byte("\r\n")); len(line) == 0 {
		return nil, errAlien
	}
	return line, nil
}

func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTorn
	}
	return err
}

func number(line []byte, mark byte, most int64) (int64, error) {
	if line[0] != mark {
		return 0, errAlien
	}
	n, err := strconv.ParseInt(string(line[1:]), 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, errAlien
	}
	return n, nil
}
