//! How a place in a value is changed: a field, an element, a slice, all children.
//!
//! A place that is not there yet is made as jq makes it: null turns into the object, array or slice that the path asks
//! for, and an array grows, with nulls before the new element. It is made only if something is put there: `.a[]? = 1`
//! and a `select` that passes nothing leave a document without `.a` as it is.

use std::ops::Range;

use jaq_core::path::Opt;
use jaq_core::{Error, Exn, ValT, ValX, val};
use jaq_json::{Map, Rc, Val};
use jaq_std::ValT as _;

use super::value::Jq;

pub(super) const ITERABLE: &str = "iterable (array or object)";
const SLICEABLE: &str = "rangeable (array or string)";

/// As far as jq goes. A mistaken index must end as an error, not as a machine without memory.
const INDEX_MAX: usize = (1 << 29) - 1;

/// Changes every child into the first result of `f`; one without a result is deleted.
pub(super) fn map_values<'a, I>(target: Jq, opt: Opt, f: impl Fn(Jq) -> I) -> ValX<'a, Jq>
where
    I: Iterator<Item = ValX<'a, Jq>>,
{
    if !matches!(target.val(), Val::Arr(_) | Val::Obj(_)) {
        return opt.fail(target.left(), |value| Exn::from(Error::typ(value, ITERABLE)));
    }
    let first = |value: Val| Some(f(value.into()).next()?.map(Jq::into_val));
    match target.into_val() {
        Val::Arr(items) => {
            let items = Rc::unwrap_or_clone(items).into_iter().filter_map(first);
            Ok(items.collect::<Result<Val, _>>()?.into())
        }
        Val::Obj(fields) => {
            let fields = Rc::unwrap_or_clone(fields).into_iter();
            let fields = fields.filter_map(|(key, value)| Some(first(value)?.map(|value| (key, value))));
            Ok(Val::obj(fields.collect::<Result<_, _>>()?).into())
        }
        childless => Ok(childless.into()),
    }
}

/// Changes the field or element `index` into the first result of `f`; without a result it is deleted.
pub(super) fn map_index<'a, I>(target: Jq, index: &Val, opt: Opt, f: impl Fn(Jq) -> I) -> ValX<'a, Jq>
where
    I: Iterator<Item = ValX<'a, Jq>>,
{
    if let (Val::Null | Val::Arr(_) | Val::TStr(_) | Val::BStr(_), Val::Obj(fields)) = (target.val(), index) {
        return map_range(target, &bounds(fields), opt, f);
    }
    if let (Val::Null, Val::TStr(_) | Val::Num(_)) = (target.val(), index) {
        // What stays null is handed back as it came, since it may stand for a missing place itself.
        let Some(value) = fill(f)? else { return Ok(target.left()) };
        if let Val::TStr(_) = index {
            return Ok(Val::obj([(index.clone(), value)].into_iter().collect()).into());
        }
        let mut items = Vec::new();
        put(&mut items, index, value)?;
        return Ok(Val::from_iter(items).into());
    }
    match (target.into_val(), index) {
        (Val::Obj(mut fields), _) => {
            map_field(Rc::make_mut(&mut fields), index, f)?;
            Ok(Val::Obj(fields).into())
        }
        (Val::Arr(mut items), Val::Num(_)) => {
            map_element(Rc::make_mut(&mut items), index, f)?;
            Ok(Val::Arr(items).into())
        }
        (val, _) => opt.fail(val.into(), |value| Exn::from(Error::index(value, index.clone().into()))),
    }
}

fn map_field<'a, I>(fields: &mut Map, key: &Val, f: impl Fn(Jq) -> I) -> Result<(), Exn<'a, Jq>>
where
    I: Iterator<Item = ValX<'a, Jq>>,
{
    match fields.get_mut(key) {
        Some(field) => match f(std::mem::take(field).into()).next().transpose()? {
            Some(value) => *field = value.into_val(),
            None => drop(fields.shift_remove(key)),
        },
        None => {
            if let Some(value) = fill(f)? {
                fields.insert(key.clone(), value);
            }
        }
    }
    Ok(())
}

fn map_element<'a, I>(items: &mut Vec<Val>, index: &Val, f: impl Fn(Jq) -> I) -> Result<(), Exn<'a, Jq>>
where
    I: Iterator<Item = ValX<'a, Jq>>,
{
    match position(index, items.len()).filter(|at| *at < items.len()) {
        Some(at) => match f(std::mem::take(&mut items[at]).into()).next().transpose()? {
            Some(value) => items[at] = value.into_val(),
            None => drop(items.remove(at)),
        },
        None => {
            if let Some(value) = fill(f)? {
                put(items, index, value)?;
            }
        }
    }
    Ok(())
}

/// What `f` puts in a place that is not there; none if it leaves the place alone.
fn fill<'a, I>(f: impl Fn(Jq) -> I) -> Result<Option<Val>, Exn<'a, Jq>>
where
    I: Iterator<Item = ValX<'a, Jq>>,
{
    let (null, missing) = Jq::missing();
    let filled = f(null).next().transpose()?;
    Ok(filled.filter(|value| !value.leaves(&missing)).map(Jq::into_val))
}

/// Puts an element behind the end, with nulls before it.
fn put(items: &mut Vec<Val>, index: &Val, value: Val) -> Result<(), Error<Jq>> {
    let Some(at) = position(index, items.len()) else {
        return Err(Error::str(format_args!("index {index} is before the start of the array")));
    };
    if at > INDEX_MAX {
        return Err(Error::str(format_args!("index {index} is too large")));
    }
    items.resize(at, Val::Null);
    items.push(value);
    Ok(())
}

/// Changes a slice into the first result of `f`; without a result it is deleted.
pub(super) fn map_range<'a, I>(
    target: Jq,
    range: &val::Range<&Val>,
    opt: Opt,
    f: impl Fn(Jq) -> I,
) -> ValX<'a, Jq>
where
    I: Iterator<Item = ValX<'a, Jq>>,
{
    let part = match slice(target.val(), range) {
        Ok(Val::Null) => {
            return Ok(fill(f)?
                .map(array)
                .transpose()?
                .map_or(target.left(), |items| Val::Arr(items).into()));
        }
        Ok(part) => part,
        Err(error) => return opt.fail(target, |_| Exn::from(error)),
    };
    let length = part.as_bytes().map_or(0, <[u8]>::len);
    let new = f(part.into()).next().transpose()?.map(Jq::into_val);
    match target.into_val() {
        Val::Arr(mut items) => {
            let at = positions(range, items.len())?;
            let new = new.map(array).transpose()?.unwrap_or_default();
            Rc::make_mut(&mut items).splice(at, new.iter().cloned());
            Ok(Val::Arr(items).into())
        }
        text => {
            let from = match range.start {
                None | Some(Val::Null) => 0,
                start => slice(&text, &(None..start))?.as_bytes().map_or(0, <[u8]>::len),
            };
            Ok(splice_text(&text, from..from + length, new)?.into())
        }
    }
}

fn splice_text(text: &Val, at: Range<usize>, new: Option<Val>) -> Result<Val, Error<Jq>> {
    let old = text.as_bytes().unwrap_or_default();
    let new = new.unwrap_or_else(|| Val::utf8_str(""));
    let Some(inserted) = new.as_bytes() else { return Err(Error::typ(new.into(), "string")) };
    let bytes = [&old[..at.start], inserted, &old[at.end..]].concat();
    Ok(if text.is_utf8_str() { Val::utf8_str(bytes) } else { Val::byte_str(bytes) })
}

/// The part of an array or a string; of null, null.
pub(super) fn slice(value: &Val, range: &val::Range<&Val>) -> Result<Val, Error<Jq>> {
    match value {
        Val::Null => positions(range, 0).map(|_valid| Val::Null),
        Val::Arr(items) => Ok(items[positions(range, items.len())?].iter().cloned().collect()),
        Val::TStr(_) | Val::BStr(_) => {
            let (start, end) = (bound(range.start, f64::floor)?, bound(range.end, f64::ceil)?);
            let (start, end) = (start.map(Val::from), end.map(Val::from));
            let part = value.clone().range(start.as_ref()..end.as_ref());
            part.map_err(|_not_a_string| Error::typ(value.clone().into(), SLICEABLE))
        }
        _ => Err(Error::typ(value.clone().into(), SLICEABLE)),
    }
}

/// The bounds that a slice has in a path.
pub(super) fn bounds(fields: &Map) -> val::Range<&Val> {
    let bound = |name: &'static str| fields.get(&Val::utf8_str(name));
    bound("start")..bound("end")
}

/// Where a slice of an array of that length begins and ends.
pub(super) fn positions(range: &val::Range<&Val>, length: usize) -> Result<Range<usize>, Error<Jq>> {
    let clip = |bound: isize| match usize::try_from(bound) {
        Ok(bound) => bound.min(length),
        Err(_negative) => length.saturating_sub(bound.unsigned_abs()),
    };
    let start = bound(range.start, f64::floor)?.map_or(0, clip);
    let end = bound(range.end, f64::ceil)?.map_or(length, clip);
    Ok(start..end.max(start))
}

fn bound(bound: Option<&Val>, round: fn(f64) -> f64) -> Result<Option<isize>, Error<Jq>> {
    match bound {
        None | Some(Val::Null) => Ok(None),
        Some(bound) => match whole(bound, round) {
            None => Err(Error::typ(bound.clone().into(), "integer")),
            whole => Ok(whole),
        },
    }
}

/// Where in an array of that length an index points, which may be behind its end; none is before its start.
pub(super) fn position(index: &Val, length: usize) -> Option<usize> {
    let index = whole(index, f64::trunc)?;
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_negative) => length.checked_sub(index.unsigned_abs()),
    }
}

/// The integer that a number used as an index stands for.
#[expect(clippy::cast_possible_truncation, reason = "a number out of range becomes the nearest integer")]
pub(super) fn whole(number: &Val, round: fn(f64) -> f64) -> Option<isize> {
    let rounded = || number.as_f64().filter(|float| !float.is_nan()).map(|float| round(float) as isize);
    number.as_isize().or_else(rounded)
}

fn array(value: Val) -> Result<Rc<Vec<Val>>, Error<Jq>> {
    match value {
        Val::Arr(items) => Ok(items),
        value => Err(Error::typ(value.into(), "array")),
    }
}
