//! jaq's values, changed as jq changes them.
//!
//! jaq-json's own value does not assign into null or behind the end of an array, and moves the last key of an object
//! to where one was deleted. This one wraps it: what only reads is jaq-json's, what changes is in `place`.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

use jaq_core::box_iter::{BoxIter, box_once};
use jaq_core::ops::Math;
use jaq_core::path::Opt;
use jaq_core::{Error, ValR, ValT, ValX, val};
use jaq_json::{Num, Rc, Val};
use jaq_std::ValT as StdValT;

use super::place;

/// A value that an expression works on.
#[derive(Clone, Debug)]
pub(super) struct Jq {
    val: Val,
    /// Set for a null that stands for a place which is not there, as long as nobody has changed it.
    missing: Option<Missing>,
}

/// Marks one missing place. Each has a mark of its own: the null of another place, say from a variable, is a value to
/// put here.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    identity: Rc<()>,
    /// Whether a path was followed from here that led to nothing. Who hands the null back without has chosen it: jq
    /// makes a null of `.a |= .`, but none of `.a[]? |= .`.
    left: bool,
}

impl Jq {
    /// The null that stands for a missing place, and its mark.
    pub(super) fn missing() -> (Jq, Missing) {
        let mark = Missing { identity: Rc::new(()), left: false };
        (Jq { val: Val::Null, missing: Some(mark.clone()) }, mark)
    }

    /// The same value, where a path led to nothing.
    pub(super) fn left(mut self) -> Jq {
        if let Some(missing) = &mut self.missing {
            missing.left = true;
        }
        self
    }

    /// Whether that missing place is to stay missing.
    pub(super) fn leaves(&self, place: &Missing) -> bool {
        self.missing.as_ref().is_some_and(|own| own.left && Rc::ptr_eq(&own.identity, &place.identity))
    }

    pub(super) fn val(&self) -> &Val {
        &self.val
    }

    pub(super) fn into_val(self) -> Val {
        self.val
    }

    /// Calculates as jaq-json does; only the error holds values of this kind.
    fn calculate(self, op: Math, other: Jq) -> ValR<Jq> {
        // These always succeed and grow their left side in place, unless somebody else holds it too.
        let grows = match (&self.val, &other.val) {
            (Val::TStr(_), Val::TStr(_)) | (Val::Arr(_), Val::Arr(_)) => matches!(op, Math::Add),
            (Val::Obj(_), Val::Obj(_)) => matches!(op, Math::Add | Math::Mul),
            _ => false,
        };
        if grows {
            return op
                .run(self.val, other.val)
                .map(Jq::from)
                .map_err(|error| Error::new(error.into_val().into()));
        }
        op.run(self.val.clone(), other.val.clone())
            .map(Jq::from)
            .map_err(|_same_with_other_values| Error::math(self, op, other))
    }
}

impl From<Val> for Jq {
    fn from(val: Val) -> Jq {
        Jq { val, missing: None }
    }
}

impl From<bool> for Jq {
    fn from(value: bool) -> Jq {
        Val::from(value).into()
    }
}

impl From<isize> for Jq {
    fn from(value: isize) -> Jq {
        Val::from(value).into()
    }
}

impl From<usize> for Jq {
    fn from(value: usize) -> Jq {
        Val::from(value).into()
    }
}

impl From<f64> for Jq {
    fn from(value: f64) -> Jq {
        Val::from(value).into()
    }
}

impl From<String> for Jq {
    fn from(value: String) -> Jq {
        Val::from(value).into()
    }
}

impl From<val::Range<Jq>> for Jq {
    fn from(range: val::Range<Jq>) -> Jq {
        let bound = |name: &str, bound: Option<Jq>| {
            (Val::from(name.to_owned()), bound.map_or(Val::Null, Jq::into_val))
        };
        Val::obj([bound("start", range.start), bound("end", range.end)].into_iter().collect()).into()
    }
}

impl FromIterator<Jq> for Jq {
    fn from_iter<I: IntoIterator<Item = Jq>>(items: I) -> Jq {
        items.into_iter().map(Jq::into_val).collect::<Val>().into()
    }
}

impl fmt::Display for Jq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.val.fmt(formatter)
    }
}

impl PartialEq for Jq {
    fn eq(&self, other: &Jq) -> bool {
        self.val == other.val
    }
}

impl Eq for Jq {}

impl PartialOrd for Jq {
    fn partial_cmp(&self, other: &Jq) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Jq {
    fn cmp(&self, other: &Jq) -> Ordering {
        self.val.cmp(&other.val)
    }
}

impl Add for Jq {
    type Output = ValR<Jq>;
    fn add(self, other: Jq) -> ValR<Jq> {
        self.calculate(Math::Add, other)
    }
}

impl Sub for Jq {
    type Output = ValR<Jq>;
    fn sub(self, other: Jq) -> ValR<Jq> {
        self.calculate(Math::Sub, other)
    }
}

impl Mul for Jq {
    type Output = ValR<Jq>;
    fn mul(self, other: Jq) -> ValR<Jq> {
        self.calculate(Math::Mul, other)
    }
}

impl Div for Jq {
    type Output = ValR<Jq>;
    fn div(self, other: Jq) -> ValR<Jq> {
        self.calculate(Math::Div, other)
    }
}

impl Rem for Jq {
    type Output = ValR<Jq>;
    fn rem(self, other: Jq) -> ValR<Jq> {
        self.calculate(Math::Rem, other)
    }
}

impl Neg for Jq {
    type Output = ValR<Jq>;
    fn neg(self) -> ValR<Jq> {
        match self.val {
            Val::Num(number) => {
                (-Val::Num(number)).map(Jq::from).map_err(|_| unreachable!("a number has a negative"))
            }
            val => Err(Error::typ(val.into(), "number")),
        }
    }
}

impl ValT for Jq {
    fn from_num(text: &str) -> ValR<Jq> {
        let val = <Val as ValT>::from_num(text);
        val.map(Jq::from).map_err(|error| Error::new(error.into_val().into()))
    }

    fn from_map<I: IntoIterator<Item = (Jq, Jq)>>(fields: I) -> ValR<Jq> {
        let fields = fields.into_iter().map(|(key, value)| (key.val, value.val));
        Ok(Val::obj(fields.collect()).into())
    }

    fn key_values(self) -> BoxIter<'static, ValR<(Jq, Jq), Jq>> {
        match self.val {
            Val::Arr(items) => {
                let items = Rc::unwrap_or_clone(items).into_iter().enumerate();
                Box::new(items.map(|(index, item)| Ok((index.into(), item.into()))))
            }
            Val::Obj(fields) => {
                let fields = Rc::unwrap_or_clone(fields).into_iter();
                Box::new(fields.map(|(key, value)| Ok((key.into(), value.into()))))
            }
            val => box_once(Err(Error::typ(val.into(), place::ITERABLE))),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Jq>>> {
        match self.val {
            Val::Arr(items) => Box::new(Rc::unwrap_or_clone(items).into_iter().map(|item| Ok(item.into()))),
            Val::Obj(fields) => {
                Box::new(Rc::unwrap_or_clone(fields).into_iter().map(|(_, value)| Ok(value.into())))
            }
            val => box_once(Err(Error::typ(val.into(), place::ITERABLE))),
        }
    }

    fn index(self, index: &Jq) -> ValR<Jq> {
        let found = match (&self.val, &index.val) {
            (Val::Arr(_), Val::Num(Num::Float(_) | Num::Dec(_))) => {
                let whole = place::whole(&index.val, f64::trunc).map_or(Val::Null, Val::from);
                self.val.clone().index(&whole)
            }
            (val, index) => val.clone().index(index),
        };
        found.map(Jq::from).map_err(|_same_with_other_values| Error::index(self, index.clone()))
    }

    fn range(self, range: val::Range<&Jq>) -> ValR<Jq> {
        let range = range.start.map(Jq::val)..range.end.map(Jq::val);
        place::slice(&self.val, &range).map(Jq::from)
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Jq>>>(self, opt: Opt, f: impl Fn(Jq) -> I) -> ValX<'a, Jq> {
        place::map_values(self, opt, f)
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Jq>>>(
        self,
        index: &Jq,
        opt: Opt,
        f: impl Fn(Jq) -> I,
    ) -> ValX<'a, Jq> {
        place::map_index(self, &index.val, opt, f)
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Jq>>>(
        self,
        range: val::Range<&Jq>,
        opt: Opt,
        f: impl Fn(Jq) -> I,
    ) -> ValX<'a, Jq> {
        place::map_range(self, &(range.start.map(Jq::val)..range.end.map(Jq::val)), opt, f)
    }

    fn as_bool(&self) -> bool {
        self.val.as_bool()
    }

    fn into_string(self) -> Jq {
        self.val.into_string().into()
    }
}

impl StdValT for Jq {
    fn into_seq<S: FromIterator<Jq>>(self) -> Result<S, Jq> {
        match self.val {
            Val::Arr(items) => Ok(Rc::unwrap_or_clone(items).into_iter().map(Jq::from).collect()),
            val => Err(val.into()),
        }
    }

    fn is_int(&self) -> bool {
        self.val.is_int()
    }

    fn as_isize(&self) -> Option<isize> {
        self.val.as_isize()
    }

    fn as_f64(&self) -> Option<f64> {
        self.val.as_f64()
    }

    fn is_utf8_str(&self) -> bool {
        self.val.is_utf8_str()
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        self.val.as_bytes()
    }

    fn as_sub_str(&self, sub: &[u8]) -> Jq {
        self.val.as_sub_str(sub).into()
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Jq {
        Val::from_utf8_bytes(bytes).into()
    }
}
