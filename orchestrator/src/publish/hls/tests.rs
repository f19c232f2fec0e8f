//! Golden playlists.
