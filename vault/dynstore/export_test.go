package dynstore

// Silence makes a replica one that has not renewed its lease for long.
func (s *Store) Silence() {
	s.stop()
	s.stop = nil
}
