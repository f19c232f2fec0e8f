//! A card as FFmpeg drives it: the context that decoder, filters and encoders share, pictures in its memory, and ways in
//! and out of it.
#![allow(unsafe_code)]
#![expect(clippy::cast_ptr_alignment, reason = "what FFmpeg allocates is aligned for any structure")]

use std::ptr;

use ffmpeg_next::{Error, codec, encoder, ffi, format::Pixel, frame::Video};

/// Decoded pictures that wait on their way to the first scaler, which copies them: the ladder's queue, the one in
/// work, and the one that is kept to repeat.
const PICTURES_WAITING: i32 = 8;

/// Which of a card's contexts is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// One of FFmpeg's own.
    Own,
    /// The one that CUDA's own libraries share, so that they find it open.
    Shared,
}

/// An open card. Clones share it.
pub(crate) struct Device(*mut ffi::AVBufferRef);

// SAFETY: the reference count is atomic, the device's context does not change once it is made, and FFmpeg's CUDA code
// makes it current in the calling thread for each call, as its own program's threads rely on too.
unsafe impl Send for Device {}
// SAFETY: as above; nothing here writes through a shared reference.
unsafe impl Sync for Device {}

impl Device {
    /// Opens the only card that CUDA sees.
    pub(crate) fn open(which: Context) -> Result<Self, Error> {
        let mut device = ptr::null_mut();
        let flags = match which {
            Context::Own => 0,
            // `AV_CUDA_USE_PRIMARY_CONTEXT` of libavutil/hwcontext_cuda.h.
            Context::Shared => 1,
        };
        // SAFETY: `device` is ours to be written to; the name is a C string; no options are given.
        let done = unsafe {
            let cuda = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_CUDA;
            ffi::av_hwdevice_ctx_create(&raw mut device, cuda, c"0".as_ptr(), ptr::null_mut(), flags)
        };
        if done < 0 { Err(Error::from(done)) } else { Ok(Self(device)) }
    }

    /// The driver's own context behind it, `CUcontext`.
    pub(crate) fn context(&self) -> *mut nix::libc::c_void {
        // SAFETY: the buffer holds an `AVHWDeviceContext`, made for CUDA, so `hwctx` is an `AVCUDADeviceContext`, whose
        // first member is the context (libavutil/hwcontext_cuda.h).
        unsafe {
            let device = (*self.0).data.cast::<ffi::AVHWDeviceContext>();
            *(*device).hwctx.cast::<*mut nix::libc::c_void>()
        }
    }

    /// Has a decoder that is not open yet decode on the card, or fail.
    pub(crate) fn decode_with(&self, decoder: &mut codec::Context) {
        // SAFETY: the context is not open, which is when these may be set; it takes over the new reference.
        unsafe {
            let raw = decoder.as_mut_ptr();
            (*raw).hw_device_ctx = ffi::av_buffer_ref(self.0);
            (*raw).extra_hw_frames = PICTURES_WAITING;
            (*raw).get_format = Some(on_card);
        }
    }

    /// Has an encoder that is not open yet take pictures from the card's memory, 8-bit 4:2:0 of this size.
    pub(crate) fn encode_with(&self, encoder: &mut encoder::video::Video, size: (u32, u32)) -> Result<(), Error> {
        let pool = Pool::new(self, size)?;
        // SAFETY: as in `decode_with`.
        unsafe { (*encoder.as_mut_ptr()).hw_frames_ctx = ffi::av_buffer_ref(pool.0) };
        Ok(())
    }
}

impl Clone for Device {
    fn clone(&self) -> Self {
        // SAFETY: `self` holds a reference while it lives, and counts are atomic.
        Self(unsafe { ffi::av_buffer_ref(self.0) })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and is not used again.
        unsafe { ffi::av_buffer_unref(&raw mut self.0) }
    }
}

/// Pictures of one size in a card's memory: NV12, the form that its decoder gives and its encoder takes.
pub(crate) struct Pool(*mut ffi::AVBufferRef);

impl Pool {
    /// Grows as it is used.
    pub(crate) fn new(device: &Device, (width, height): (u32, u32)) -> Result<Self, Error> {
        // SAFETY: the device lives; the new context is ours, and is filled in before it is initialized.
        unsafe {
            let pool = ffi::av_hwframe_ctx_alloc(device.0);
            if pool.is_null() {
                return Err(Error::Other { errno: nix::libc::ENOMEM });
            }
            let pool = Self(pool);
            let frames = (*pool.0).data.cast::<ffi::AVHWFramesContext>();
            (*frames).format = ffi::AVPixelFormat::AV_PIX_FMT_CUDA;
            (*frames).sw_format = ffi::AVPixelFormat::AV_PIX_FMT_NV12;
            (*frames).width = width as i32;
            (*frames).height = height as i32;
            match ffi::av_hwframe_ctx_init(pool.0) {
                0.. => Ok(pool),
                error => Err(Error::from(error)),
            }
        }
    }

    /// A copy of a picture (NV12, of the pool's size) in the card's memory.
    pub(crate) fn upload(&self, picture: &Video) -> Result<Video, Error> {
        let mut uploaded = Video::empty();
        // SAFETY: the new frame is empty and ours; the pool fills in its format and planes, which the transfer asks for.
        let done = unsafe {
            match ffi::av_hwframe_get_buffer(self.0, uploaded.as_mut_ptr(), 0) {
                0 => ffi::av_hwframe_transfer_data(uploaded.as_mut_ptr(), picture.as_ptr(), 0),
                error => error,
            }
        };
        if done < 0 { Err(Error::from(done)) } else { Ok(uploaded) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and is not used again.
        unsafe { ffi::av_buffer_unref(&raw mut self.0) }
    }
}

/// A copy of a picture of a card's memory in the machine's own.
pub(crate) fn download(picture: &Video) -> Result<Video, Error> {
    let mut downloaded = Video::empty();
    // SAFETY: the new frame is empty and ours, so the transfer chooses its format and makes its planes.
    match unsafe { ffi::av_hwframe_transfer_data(downloaded.as_mut_ptr(), picture.as_ptr(), 0) } {
        0 => Ok(downloaded),
        error => Err(Error::from(error)),
    }
}

/// Whether a picture lies in a card's memory.
pub(crate) fn is_on_card(picture: &Video) -> bool {
    picture.format() == Pixel::CUDA
}

/// What FFmpeg asks of a decoder's user: which of these forms the pictures are to have
/// (`AVCodecContext.get_format`). Without one on the card decoding fails.
unsafe extern "C" fn on_card(_: *mut ffi::AVCodecContext, mut forms: *const ffi::AVPixelFormat) -> ffi::AVPixelFormat {
    loop {
        // SAFETY: FFmpeg's list ends with `AV_PIX_FMT_NONE`, and nothing behind that is read.
        let form = unsafe { *forms };
        if form == ffi::AVPixelFormat::AV_PIX_FMT_CUDA || form == ffi::AVPixelFormat::AV_PIX_FMT_NONE {
            return form;
        }
        // SAFETY: as above.
        forms = unsafe { forms.add(1) };
    }
}

/// Whether an encoder, or every encoder, has an option of this name.
#[cfg(test)]
pub(crate) fn knows(encoder: &ffmpeg_next::Codec, option: &str) -> bool {
    let name = std::ffi::CString::new(option).expect("a name without nul");
    // SAFETY: AV_OPT_SEARCH_FAKE_OBJ takes a pointer to a pointer to a class and looks at the class alone; classes are
    // constants of the library.
    unsafe {
        let classes = [(*encoder.as_ptr()).priv_class, ffi::avcodec_get_class()];
        classes.iter().filter(|class| !class.is_null()).any(|class| {
            let class = ptr::from_ref(class).cast_mut().cast();
            let fake = ffi::AV_OPT_SEARCH_FAKE_OBJ;
            !ffi::av_opt_find(class, name.as_ptr(), ptr::null(), 0, fake).is_null()
        })
    }
}
