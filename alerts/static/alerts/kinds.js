// Shows a field with `data-kinds` only while the form's kind is one of them. A field that is not shown is not sent.
"use strict";
(() => {
  const show = () => {
    const kind = document.getElementById("id_kind");
    for (const field of kind ? document.querySelectorAll("[data-kinds]") : []) {
      field.disabled = !field.dataset.kinds.split(" ").includes(kind.value);
      field.closest(".form-row").hidden = field.disabled;
    }
  };
  document.addEventListener("DOMContentLoaded", show);
  document.addEventListener("change", ({ target }) => { if (target.id === "id_kind") show(); });
  // A page that the browser restores has the choice of before.
  addEventListener("pageshow", show);
})();
