//! Where a slice's header ends: what is before it stays clear in protected H.264 (ISO/IEC 23001-7:2016, 10.4.2).

use std::{
    cell::Cell,
    io::{BufRead, Read},
};

use h264_reader::{
    Context,
    nal::{Nal, NalHeader, RefNal, UnitType, pps::PicParameterSet, slice::SliceHeader, sps::SeqParameterSet},
    rbsp::BitReader,
};
use mp4_atom::Avcc;

use crate::{Error, nal};

/// No slice header is longer: its largest parts are tables of weights, for 64 reference pictures at most.
const HEADER_BYTES_MAX: usize = 2_048;
/// What stays clear of a slice whose header can't be read: no player shows it, and none is to stumble over it more than
/// it would over the plain one.
const UNREAD_BYTES: usize = 256;

/// A track's parameter sets.
pub(super) struct Slices {
    context: Context,
    length_bytes: usize,
}

impl Slices {
    pub(super) fn new(avcc: &Avcc) -> Result<Self, Error> {
        let broken = |record, error: String| Error::config(record, error);
        let mut context = Context::default();
        for unit in &avcc.sequence_parameter_sets {
            let sps = SeqParameterSet::from_bits(RefNal::new(unit, &[], true).rbsp_bits());
            context.put_seq_param_set(sps.map_err(|error| broken("SPS", format!("{error:?}")))?);
        }
        for unit in &avcc.picture_parameter_sets {
            let pps = PicParameterSet::from_bits(&context, RefNal::new(unit, &[], true).rbsp_bits());
            context.put_pic_param_set(pps.map_err(|error| broken("PPS", format!("{error:?}")))?);
        }
        Ok(Self { context, length_bytes: avcc.length_size.into() })
    }

    /// The NAL unit that `bytes` start with, behind its length, and its place.
    pub(super) fn unit<'a>(&self, bytes: &'a [u8]) -> Option<(usize, &'a [u8])> {
        nal::prefixed(bytes, self.length_bytes).next().map(|unit| (self.length_bytes, unit))
    }

    /// How many bytes of a NAL unit stay clear, from its first.
    pub(super) fn clear_bytes(&self, unit: &[u8]) -> usize {
        let header = unit.first().and_then(|byte| NalHeader::new(*byte).ok());
        let slice = header.filter(|header| {
            let kind = header.nal_unit_type();
            matches!(kind, UnitType::SliceLayerWithoutPartitioningIdr | UnitType::SliceLayerWithoutPartitioningNonIdr)
        });
        let Some(header) = slice else { return unit.len() };
        self.header_bytes(header, &unit[1..]).map_or(UNREAD_BYTES, |bytes| 1 + bytes).min(unit.len())
    }

    /// The bytes of a slice header, the last one maybe in part; `payload` is what follows the unit's first byte.
    fn header_bytes(&self, header: NalHeader, payload: &[u8]) -> Option<usize> {
        let plain = nal::unescaped(&payload[..payload.len().min(HEADER_BYTES_MAX)]);
        let read = Cell::new(0);
        let mut bits = BitReader::new(Counted { rest: &plain, read: &read });
        SliceHeader::from_bits(&self.context, &mut bits, header, None).ok()?;
        nal::escaped_bytes(payload, read.get())
    }
}

/// Bytes that are counted as they are taken.
#[derive(Clone)]
struct Counted<'a> {
    rest: &'a [u8],
    read: &'a Cell<usize>,
}

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let taken = self.rest.read(out)?;
        self.read.set(self.read.get() + taken);
        Ok(taken)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        Ok(self.rest)
    }

    fn consume(&mut self, count: usize) {
        self.rest.consume(count);
        self.read.set(self.read.get() + count);
    }
}
