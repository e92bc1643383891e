package s3archive

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm/internal/endpoint"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// A location is where an archive is, as it is written in s3://BUCKET/PREFIX?OPTIONS.
type location struct {
	bucket, prefix   string // the prefix ends with a slash, or is empty
	region, endpoint string // empty for those of the environment
	pathStyle        bool

	lock types.ObjectLockMode // empty to leave retention to the bucket
	keep time.Duration        // how long an object is locked
}

const (
	day         = 24 * time.Hour
	maxLockDays = 100 * 365
)

// parse reads a location.
func parse(text string) (*location, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the location of the archive is no URL")
	}
	if u.User != nil {
		return nil, errors.New("the location of an archive has no credentials in it: they come " +
			"from the environment, or from the files of the AWS command line")
	}
	if u.Scheme != "s3" || u.Host == "" || u.Fragment != "" || u.Port() != "" {
		return nil, fmt.Errorf("%q is not s3://BUCKET/PREFIX", text)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	l := &location{bucket: u.Host, prefix: strings.Trim(u.Path, "/")}
	if l.prefix != "" {
		if slices.Contains(strings.Split(l.prefix, "/"), "") {
			return nil, fmt.Errorf("%q has an empty name in its prefix", text)
		}
		l.prefix += "/"
	}
	days := 0
	for name, values := range query {
		value := values[0]
		switch name {
		case "region":
			l.region = value
		case "endpoint":
			l.endpoint, err = value, endpoint.Check(value)
		case "path-style":
			l.pathStyle, err = strconv.ParseBool(value)
		case "lock":
			l.lock = types.ObjectLockMode(strings.ToUpper(value))
			if !slices.Contains(l.lock.Values(), l.lock) {
				err = errors.New("is governance or compliance")
			}
		case "days":
			days, err = strconv.Atoi(value)
			if err == nil && (days < 1 || days > maxLockDays) {
				err = fmt.Errorf("is a number from 1 to %d", maxLockDays)
			}
		default:
			err = errors.New("is unknown; there are region, endpoint, path-style, lock and days")
		}
		if err == nil && len(values) > 1 {
			err = errors.New("is there twice")
		}
		if err != nil {
			return nil, fmt.Errorf("the location of the archive: %s %w", name, err)
		}
	}
	if (l.lock == "") != (days == 0) {
		return nil, errors.New("the location of the archive: lock and days belong together")
	}
	l.keep = time.Duration(days) * day
	return l, nil
}
