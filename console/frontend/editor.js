// The editor of programs, in place of a textarea. Its colours are in console.css, by the classes of classHighlighter.
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Annotation, Compartment, EditorState, Transaction } from "@codemirror/state";
import { EditorView, drawSelection, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { languageOf } from "./languages.js";

// The policy lets the editor write styles only with the nonce of the page, which its script tag carries.
const nonce = document.currentScript.nonce;
const replacedByPage = Annotation.define();
const isDark = () => document.documentElement.classList.contains("dark");

/**
 * Replaces `area`, whose value stays in step so that its form sends the text.
 * `describedBy` is the id of the text that says how the Tab key leaves the editor. `keys` are bindings of
 * CodeMirror's keymap. `onChange(byHand)` is called after each change; byHand is false after setText.
 */
export function replaceTextarea(area, { label, describedBy, keys = [], onChange = () => {} }) {
  const language = new Compartment();
  const theme = new Compartment();
  const view = new EditorView({
    doc: area.value,
    extensions: [
      EditorView.cspNonce.of(nonce),
      // A contenteditable has this tabindex anyway, but checkers of accessibility look for it.
      EditorView.contentAttributes.of({ "aria-label": label, "aria-describedby": describedBy, tabindex: "0" }),
      lineNumbers(), highlightSpecialChars(), history(), drawSelection(), indentUnit.of("    "), indentOnInput(),
      bracketMatching(), highlightSelectionMatches(), search({ top: true }), syntaxHighlighting(classHighlighter),
      EditorState.allowMultipleSelections.of(true),
      // Escape and then Tab leaves the editor: CodeMirror's own, as is Ctrl-M.
      keymap.of([...keys, ...defaultKeymap, ...historyKeymap, ...searchKeymap, indentWithTab]),
      language.of([]),
      theme.of(EditorView.darkTheme.of(isDark())),
      EditorView.updateListener.of((update) => {
        if (!update.docChanged) return;
        area.value = update.state.doc.toString();
        onChange(!update.transactions.some((each) => each.annotation(replacedByPage)));
      }),
    ],
  });
  area.hidden = true;
  area.after(view.dom);
  new MutationObserver(() => view.dispatch({ effects: theme.reconfigure(EditorView.darkTheme.of(isDark())) }))
    .observe(document.documentElement, { attributeFilter: ["class"] });
  return {
    setText(text) {
      view.dispatch({
        changes: { from: 0, to: view.state.doc.length, insert: text },
        annotations: [replacedByPage.of(true), Transaction.addToHistory.of(false)],
      });
    },
    setLanguage(slug) { view.dispatch({ effects: language.reconfigure(languageOf(slug)) }); },
  };
}
