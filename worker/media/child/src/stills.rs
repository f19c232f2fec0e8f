//! The stills job: key pictures in, a poster and sheets of thumbnails out, as JPEG.

mod jpeg;

use std::{io::Cursor, path::Path, sync::Arc};

use ffmpeg_next::{
    color::{Range, Space},
    format::Pixel,
    frame::Video,
    media,
};
use millrace_media::{
    Failure,
    job::{Grid, Pair, Size, Stilled, Stills},
};

use crate::{
    av::{self, clip::read_file},
    transcode::{Colour, Scaler, write_file},
    trouble,
};

/// A picture says something from this variance of its luma on: black, white and fog are far below, a dim face above.
const VARIANCE_MIN: f64 = 150.0;

/// Where the matrix is not told, pictures above this are taken for high definition, as players do.
const SD_HEIGHT_MAX: u32 = 576;

/// Runs the job.
pub(crate) fn run(job: &Stills) -> Result<Stilled, Failure> {
    let poster = match &job.poster {
        Some(size) => poster(job, *size)?,
        None => false,
    };
    let sheets = match &job.grid {
        Some(grid) => sheets(&job.thumbnails, *grid, &job.out)?,
        None => 0,
    };
    Ok(Stilled { poster, sheets })
}

/// The first candidate that shows something, or the one that shows most.
fn poster(job: &Stills, size: Size) -> Result<bool, Failure> {
    let mut best: Option<(f64, Video)> = None;
    for pair in &job.candidates {
        let Some(picture) = picture(pair, size)? else { continue };
        let variance = variance(&picture);
        if best.as_ref().is_none_or(|(known, _)| variance > *known) {
            best = Some((variance, picture));
        }
        if variance >= VARIANCE_MIN {
            break;
        }
    }
    let Some((_, picture)) = best else { return Ok(false) };
    write_file(&job.out.join(Stills::POSTER), &jpeg::encode(&picture)?)?;
    Ok(true)
}

/// Sheets of thumbnails, row by row. A picture that can't be had leaves its place black.
fn sheets(thumbnails: &[Pair], grid: Grid, out: &Path) -> Result<u32, Failure> {
    let per_sheet = (grid.columns * grid.rows).max(1) as usize;
    for (number, pairs) in thumbnails.chunks(per_sheet).enumerate() {
        let rows = (pairs.len() as u32).div_ceil(grid.columns.max(1));
        let columns = grid.columns.min(pairs.len() as u32);
        let mut sheet = black(columns * grid.tile.width, rows * grid.tile.height)?;
        for (at, pair) in pairs.iter().enumerate() {
            if let Some(tile) = picture(pair, grid.tile)? {
                let at = at as u32;
                paste(&mut sheet, &tile, at % columns * grid.tile.width, at / columns * grid.tile.height);
            }
        }
        write_file(&out.join(Stills::sheet(number as u32)), &jpeg::encode(&sheet)?)?;
    }
    Ok(thumbnails.len().div_ceil(per_sheet) as u32)
}

/// The first picture of a segment, upright and of this size, as JPEG wants it; none if it can't be decoded.
fn picture(pair: &Pair, size: Size) -> Result<Option<Video>, Failure> {
    let bytes = [read_file(&pair.init)?, read_file(&pair.segment)?].concat();
    let Ok(mut input) = av::input::open(Cursor::new(bytes), "mov", &[]) else { return Ok(None) };
    let first = av::input::next_packet(&mut input)?;
    let (Some(packet), Some(stream)) = (first, input.streams().best(media::Type::Video)) else { return Ok(None) };
    let mut decoder = av::decode::Decoder::open(&stream, 1)?;
    let mut found = None;
    let mut take = |frame: Video| {
        found.get_or_insert(frame);
        Ok(())
    };
    decoder.feed(Some(&packet), &mut take)?;
    decoder.feed(None, &mut take)?;
    let Some(mut frame) = found else { return Ok(None) };
    let colour = Colour::take(&mut frame);
    let matrix = match colour.matrix {
        Space::Unspecified if frame.height() > SD_HEIGHT_MAX => Space::BT709,
        other => other,
    };
    let upright = Scaler::new(size.width, size.height, av::input::rotation_deg(&stream)).scale(&Arc::new(frame))?;
    let converted = av::full_range::convert(&upright, matrix, colour.range == Range::JPEG);
    converted.map(Some).map_err(|error| trouble::machine("convert a picture", error))
}

fn variance(picture: &Video) -> f64 {
    let (width, stride) = (picture.width() as usize, picture.stride(0));
    let rows = picture.data(0).chunks(stride).take(picture.height() as usize);
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for &luma in rows.flat_map(|row| &row[..width.min(row.len())]) {
        let luma = f64::from(luma);
        count += 1.0;
        sum += luma;
        squares += luma * luma;
    }
    if count == 0.0 { 0.0 } else { squares / count - (sum / count) * (sum / count) }
}

fn black(width: u32, height: u32) -> Result<Video, Failure> {
    let picture = av::frame::picture(Pixel::YUVJ420P, width, height);
    let mut picture = picture.map_err(|error| trouble::machine("make a picture", error))?;
    for (plane, value) in [(0, 0), (1, 128), (2, 128)] {
        picture.data_mut(plane).fill(value);
    }
    Ok(picture)
}

/// Copies `tile` into `sheet`; places and sizes are even.
fn paste(sheet: &mut Video, tile: &Video, x: u32, y: u32) {
    for plane in 0..3 {
        let shift = u32::from(plane > 0);
        let (x, y) = ((x >> shift) as usize, (y >> shift) as usize);
        let (width, height) = ((tile.width() >> shift) as usize, (tile.height() >> shift) as usize);
        let (from, to) = (tile.stride(plane), sheet.stride(plane));
        let rows = sheet.data_mut(plane).chunks_mut(to).skip(y);
        for (row, source) in rows.zip(tile.data(plane).chunks(from)).take(height) {
            row[x..x + width].copy_from_slice(&source[..width]);
        }
    }
}
