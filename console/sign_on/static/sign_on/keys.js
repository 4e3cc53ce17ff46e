// Says why a passkey cannot be used, in place of django-allauth's line in the browser's console.
document.addEventListener("DOMContentLoaded", () => {
  const problem = document.getElementById("key-problem");
  const say = (text) => { problem.textContent = text; problem.hidden = false; };
  const isAddress = /^[\d.]+$|^\[/.test(location.hostname);
  if (!window.PublicKeyCredential || isAddress) {
    const why = isAddress
      ? "Passkeys need a host name in the address bar, not an IP address."
      : "Passkeys need HTTPS, or http://localhost, and a browser that knows them.";
    for (const button of document.querySelectorAll("#passkey-login, #key-login, #key-confirm, #key-add")) {
      button.disabled = true;
      button.title = why;
    }
    // At the login, most people want something else: no warning there.
    if (!document.getElementById("passkey-login")) say(why);
  }
  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    const name = event.detail.exception && event.detail.exception.name;
    say({
      NotAllowedError: "Cancelled, or no key of this platform was found.",
      InvalidStateError: "This key is already registered.",
      SecurityError: "The browser refuses passkeys at this address.",
    }[name] || "The key could not be used. Try again.");
  });
});
