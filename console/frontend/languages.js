// The editor's parser by runtime slug. Other slugs get plain text.
import { StreamLanguage } from "@codemirror/language";
import { c, clike, cpp, csharp, java, kotlin, scala } from "@codemirror/legacy-modes/mode/clike";
import { clojure } from "@codemirror/legacy-modes/mode/clojure";
import { commonLisp } from "@codemirror/legacy-modes/mode/commonlisp";
import { d } from "@codemirror/legacy-modes/mode/d";
import { erlang } from "@codemirror/legacy-modes/mode/erlang";
import { fortran } from "@codemirror/legacy-modes/mode/fortran";
import { go } from "@codemirror/legacy-modes/mode/go";
import { haskell } from "@codemirror/legacy-modes/mode/haskell";
import { javascript, typescript } from "@codemirror/legacy-modes/mode/javascript";
import { julia } from "@codemirror/legacy-modes/mode/julia";
import { lua } from "@codemirror/legacy-modes/mode/lua";
import { fSharp, oCaml } from "@codemirror/legacy-modes/mode/mllike";
import { pascal } from "@codemirror/legacy-modes/mode/pascal";
import { perl } from "@codemirror/legacy-modes/mode/perl";
import { python } from "@codemirror/legacy-modes/mode/python";
import { r } from "@codemirror/legacy-modes/mode/r";
import { ruby } from "@codemirror/legacy-modes/mode/ruby";
import { rust } from "@codemirror/legacy-modes/mode/rust";
import { scheme } from "@codemirror/legacy-modes/mode/scheme";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { sqlite } from "@codemirror/legacy-modes/mode/sql";
import { swift } from "@codemirror/legacy-modes/mode/swift";
import { tcl } from "@codemirror/legacy-modes/mode/tcl";

const words = (text) => Object.fromEntries(text.split(" ").map((word) => [word, true]));
// legacy-modes has no PHP, and the parser for PHP within HTML is as large as all of these together.
const php = clike({
  name: "php",
  keywords: words(
    "abstract and as break case catch class clone const continue declare default do echo else elseif enum extends final " +
    "finally fn for foreach function global goto if implements include include_once instanceof insteadof interface match " +
    "namespace new or print private protected public readonly require require_once return static switch throw trait try " +
    "use var while xor yield",
  ),
  blockKeywords: words("catch do else elseif finally for foreach if switch try while"),
  defKeywords: words("class enum function interface namespace trait"),
  types: words("array bool callable float int iterable mixed never object self string void"),
  atoms: words("true false null TRUE FALSE NULL __CLASS__ __DIR__ __FILE__ __FUNCTION__ __LINE__ __METHOD__ __NAMESPACE__"),
  multiLineStrings: true,
  hooks: {
    "$": (stream) => (stream.eatWhile(/[\w$\xa1-\uffff]/), "variableName"),
    "#": (stream) => (stream.eat("[") ? "meta" : (stream.skipToEnd(), "comment")),
    "<": (stream) => (stream.match(/^\?(php|=)/) ? "meta" : false),
    "?": (stream) => (stream.eat(">") ? "meta" : false),
  },
});

const parsers = {
  bash: shell, sh: shell, c, clojure, commonlisp: commonLisp, cpp, csharp, d, erlang, fortran, fsharp: fSharp, go,
  haskell, java, javascript, nodejs: javascript, julia, kotlin, lua, ocaml: oCaml, pascal, perl, php, python, r, ruby,
  rust, scala, scheme, sqlite, swift, tcl, typescript,
};

export function languageOf(slug) {
  return Object.hasOwn(parsers, slug) ? StreamLanguage.define(parsers[slug]) : [];
}
