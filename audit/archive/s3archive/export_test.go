package s3archive

import "time"

// TryFor makes all tries of one request of b take so long at most.
func (b *Bucket) TryFor(d time.Duration) { b.tryFor = d }
