//! What is made of segments besides playlists: movies, clips, pictures.
//!
//! Nothing here changes a segment. What is made is either put together while it is sent, or stored beside the
//! segments under a name that no hash has, and can be made again at any time from what is listed.

pub mod clips;
pub mod movie;
pub mod stills;
