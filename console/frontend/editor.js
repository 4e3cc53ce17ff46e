// The program editor, which replaces a textarea. console.css has its colours, by the classes of classHighlighter.
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Annotation, Compartment, EditorState, Transaction } from "@codemirror/state";
import { EditorView, drawSelection, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { languageOf } from "./languages.js";

// The Content-Security-Policy permits the editor's styles only with the page's nonce, which its script tag carries.
const nonce = document.currentScript.nonce;
const replacedByPage = Annotation.define();
const isDark = () => document.documentElement.classList.contains("dark");

/**
 * Replaces `area`. The value of `area` follows the editor, so that its form submits the text.
 * `describedBy` is the id of the element that explains how to leave the editor with the Tab key. `keys` are bindings
 * for CodeMirror's keymap. `onChange(byHand)` is called after each change; byHand is false after setText.
 */
export function replaceTextarea(area, { label, describedBy, keys = [], onChange = () => {} }) {
  const language = new Compartment();
  const theme = new Compartment();
  const view = new EditorView({
    doc: area.value,
    extensions: [
      EditorView.cspNonce.of(nonce),
      // A contenteditable is focusable without tabindex, but accessibility checkers look for it.
      EditorView.contentAttributes.of({ "aria-label": label, "aria-describedby": describedBy, tabindex: "0" }),
      lineNumbers(), highlightSpecialChars(), history(), drawSelection(), indentUnit.of("    "), indentOnInput(),
      bracketMatching(), highlightSelectionMatches(), search({ top: true }), syntaxHighlighting(classHighlighter),
      EditorState.allowMultipleSelections.of(true),
      // Escape followed by Tab leaves the editor. CodeMirror provides this and Ctrl-M.
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
