//! The functions that expressions can call: jaq's for any value, those that jaq-json has for its own values alone, and
//! those whose paths or changes are jq's.

use jaq_core::box_iter::{box_once, then};
use jaq_core::data::JustLut;
use jaq_core::load::{self, parse::Def};
use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::path::Opt;
use jaq_core::{Error, Exn, Native, RunPtr, ValR, ValX, ValXs};
use jaq_json::{Val, bytes_valrs, read};
use jaq_std::ValT;

use super::delete::delete_paths;
use super::place;
use super::value::Jq;

pub(super) type Data = JustLut<Jq>;

/// These hide jaq's. jaq deletes by an update, place by place, which would make the parents of what is not there and
/// shift the elements that are still to be deleted; its `pick` knows no arrays, and its `walk` is an update, which
/// takes one result a child. Its `join` writes `null` for null, its `todate` fractions of a second, which `fromdate` of jq
/// can't read, its `ltrimstr` and `rtrimstr` fail on what is no string, and its `reverse` on null.
const DEFINITIONS: &str = "
def del(f): delpaths([path(f)]);
def leaf_paths: paths(scalars);
def pick(f): . as $top | reduce path(f) as $path (null; setpath($path; $top | getpath($path)));
def walk(f): def each: if isobject then map_values(each) elif isarray then map(each) end | f; each;
def join($between): reduce .[] as $item (null; (if . == null then \"\" else . + $between end)
  + ($item | if isboolean or isnumber then tojson else . end)) // \"\";
def todate: strftime(\"%Y-%m-%dT%H:%M:%SZ\");
def todateiso8601: todate;
def ltrimstr($start): if isstring and ($start | isstring) and startswith($start) then .[$start | length:] end;
def rtrimstr($end): if isstring and ($end | isstring) and endswith($end) then .[:length - ($end | length)] end;
def reverse: if isstring then explode | reverse | implode else [.[length - 1 - range(length)]] end;
def IN(wanted): any(wanted == .; .);
def IN(found; wanted): any(found == wanted; .);
def INDEX(rows; key): reduce rows as $row ({}; .[$row | key | tostring] = $row);
def INDEX(key): INDEX(.[]; key);
";

pub(super) fn definitions() -> impl Iterator<Item = Def<&'static str>> {
    let own = load::parse(DEFINITIONS, |parser| parser.defs()).expect("the definitions above can be parsed");
    // A definition hides a function of the same name, and these are functions here.
    let jaq = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    jaq.filter(|definition| !["delpaths", "empty"].contains(&definition.name)).chain(own)
}

pub(super) fn functions() -> impl Iterator<Item = Fun<Data>> {
    let core = jaq_core::funs().map(|(name, arguments, native)| (name, arguments, with_update(name, native)));
    core.chain(jaq_std::funs()).chain([empty()]).chain(own().into_iter().map(|own| run::<Data>(own)))
}

/// jaq finds the paths of these, but can't update by them.
fn with_update(name: &str, native: Native<Data>) -> Native<Data> {
    macro_rules! by_paths {
        (|$paths:ident, $context:ident| $choose:expr) => {
            native.with_update(|mut cv, f| {
                let (filter, outer) = cv.0.pop_fun();
                let $context = &mut cv.0;
                let $paths = filter.paths((outer, (cv.1.clone(), Default::default())));
                let chosen = $choose.map(|found| Ok(found?.1.iter().cloned().collect()));
                let chosen = chosen.collect::<Result<Vec<Vec<Jq>>, Exn<Jq>>>();
                then(chosen, |chosen| update_by_paths(cv.1, &chosen, &f))
            })
        };
    }
    match name {
        "first" => by_paths!(|paths, _none| paths.take(1)),
        "last" => by_paths!(|paths, _none| paths.last().into_iter()),
        "limit" => by_paths!(|paths, context| paths.take(count(&context.pop_var()))),
        "skip" => by_paths!(|paths, context| paths.skip(count(&context.pop_var()))),
        _ => native,
    }
}

/// jaq's updates by nothing, as those of `select`, but they say that a missing place is to stay missing.
fn empty() -> Fun<Data> {
    let native = Native::new(|_| Box::new(std::iter::empty()));
    let native = native.with_paths(|_| Box::new(std::iter::empty()));
    ("empty", v(0), native.with_update(|cv, _| box_once(Ok(cv.1.left()))))
}

fn count(number: &Jq) -> usize {
    place::whole(number.val(), f64::ceil).and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

/// Updates one path after the other; their last keys come first.
fn update_by_paths<'a>(value: Jq, paths: &[Vec<Jq>], f: &dyn Fn(Jq) -> ValXs<'a, Jq>) -> ValXs<'a, Jq> {
    let mut value = if paths.is_empty() { value.left() } else { value };
    for path in paths {
        value = match update_at(value, path, f) {
            Some(Ok(value)) => value,
            Some(Err(error)) => return box_once(Err(error)),
            None => return Box::new(std::iter::empty()),
        };
    }
    box_once(Ok(value))
}

fn update_at<'a>(value: Jq, path: &[Jq], f: &dyn Fn(Jq) -> ValXs<'a, Jq>) -> Option<ValX<'a, Jq>> {
    match path.split_last() {
        None => f(value).next(),
        Some((key, rest)) => {
            let child = |value| update_at(value, rest, f).into_iter();
            Some(place::map_index(value, key.val(), Opt::Essential, child))
        }
    }
}

/// Those of jaq-json, and `delpaths`.
fn own() -> [Filter<RunPtr<Data>>; 9] {
    [
        ("delpaths", v(1), |cv| unary(cv, delete_paths)),
        ("fromjson", v(0), |cv| {
            then(
                cv.1.val().try_as_utf8_bytes_owned().map_err(|_| Exn::from(string_expected(&cv.1))),
                |text| {
                    let fail = move |error| {
                        Exn::from(Error::str(format_args!("cannot parse {} as JSON: {error}", cv.1)))
                    };
                    let parsed = bytes_valrs(text, |text| {
                        Box::new(read::parse_many(text).map(|value| value.map_err(jaq_core::Error::str)))
                    });
                    Box::new(parsed.map(move |value| value.map(Jq::from).map_err(&fail)))
                },
            )
        }),
        ("tojson", v(0), |cv| bome(Ok(cv.1.to_string().into()))),
        ("tobytes", v(0), |cv| {
            let bytes = to_bytes(cv.1.val()).map(|bytes| Val::byte_str(bytes).into());
            bome(bytes.ok_or_else(|| Error::str(format_args!("cannot convert {} to bytes", cv.1))))
        }),
        ("length", v(0), |cv| bome(length(cv.1))),
        ("contains", v(1), |cv| unary(cv, |whole, part| Ok(contains(whole.val(), part.val()).into()))),
        ("has", v(1), |cv| unary(cv, has)),
        ("indices", v(1), |cv| unary(cv, indices)),
        ("bsearch", v(1), |cv| unary(cv, |items, item| search(items, &item))),
    ]
}

fn string_expected(value: &Jq) -> Error<Jq> {
    Error::typ(value.clone(), "string")
}

fn to_bytes(value: &Val) -> Option<Vec<u8>> {
    match value {
        Val::Num(_) => Some(vec![u8::try_from(value.as_isize()?).ok()?]),
        Val::Arr(items) => Some(items.iter().map(to_bytes).collect::<Option<Vec<_>>>()?.concat()),
        value => value.as_bytes().map(<[u8]>::to_vec),
    }
}

fn length(value: Jq) -> ValR<Jq> {
    Ok(match value.val() {
        Val::Null => 0_usize.into(),
        Val::Num(_) if *value.val() < Val::from(0_usize) => (-value)?,
        Val::Num(_) => value,
        Val::TStr(text) => String::from_utf8_lossy(text).chars().count().into(),
        Val::BStr(bytes) => bytes.len().into(),
        Val::Arr(items) => items.len().into(),
        Val::Obj(fields) => fields.len().into(),
        Val::Bool(_) => return Err(Error::str(format_args!("{value} has no length"))),
    })
}

fn contains(whole: &Val, part: &Val) -> bool {
    match (whole, part) {
        (Val::TStr(whole), Val::TStr(part)) | (Val::BStr(whole), Val::BStr(part)) => {
            part.is_empty() || whole.windows(part.len()).any(|window| window == &part[..])
        }
        (Val::Arr(whole), Val::Arr(part)) => {
            part.iter().all(|part| whole.iter().any(|whole| contains(whole, part)))
        }
        (Val::Obj(whole), Val::Obj(part)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part)))
        }
        _ => whole == part,
    }
}

fn has(value: Jq, key: Jq) -> ValR<Jq> {
    match (value.val(), key.val()) {
        (Val::Null, _) => Ok(false.into()),
        (Val::Obj(fields), key) => Ok(fields.contains_key(key).into()),
        (Val::Arr(items), key @ Val::Num(_)) => {
            Ok(place::position(key, items.len()).is_some_and(|at| at < items.len()).into())
        }
        _ => Err(Error::index(value, key)),
    }
}

/// Where `part` stands: an element or a run of elements in an array, a piece of a string, counted in characters.
fn indices(whole: Jq, part: Jq) -> ValR<Jq> {
    let found: Vec<usize> = match (whole.val(), part.val()) {
        (Val::Null, _) => return Ok(Val::Null.into()),
        (Val::TStr(_) | Val::BStr(_), part) if part.as_bytes().is_some_and(<[u8]>::is_empty) => Vec::new(),
        (Val::Arr(_), Val::Arr(part)) if part.is_empty() => Vec::new(),
        (Val::TStr(whole), Val::TStr(part)) => {
            let (whole, part) = (String::from_utf8_lossy(whole), String::from_utf8_lossy(part));
            let places = whole.char_indices().enumerate();
            places.filter(|(_, (byte, _))| whole[*byte..].starts_with(&*part)).map(|(at, _)| at).collect()
        }
        (Val::BStr(whole), Val::BStr(part)) => windows_like(whole, part),
        (Val::Arr(whole), Val::Arr(part)) => windows_like(whole, part),
        (Val::Arr(whole), part) => windows_like(whole, std::slice::from_ref(part)),
        _ => return Err(Error::index(whole, part)),
    };
    Ok(found.into_iter().map(Jq::from).collect())
}

fn windows_like<T: PartialEq>(whole: &[T], part: &[T]) -> Vec<usize> {
    let windows = whole.windows(part.len()).enumerate();
    windows.filter(|(_, window)| *window == part).map(|(at, _)| at).collect()
}

/// Where `item` stands in a sorted array; -1 - i if it is not there, but could be inserted at i.
fn search(items: Jq, item: &Jq) -> ValR<Jq> {
    let Val::Arr(sorted) = items.val() else { return Err(Error::typ(items, "array")) };
    let signed = |at: usize| isize::try_from(at).map_err(Error::str);
    Ok(match sorted.binary_search(item.val()) {
        Ok(at) => at.into(),
        Err(at) => (-1 - signed(at)?).into(),
    })
}
