// The console's only script: what plain forms cannot do. Every page works without it but passkeys. It writes text and
// attributes, never markup: the pages demand Trusted Types and allow no policy.
//
// What a page writes for it:
//
//   <button type="button" data-copy="ID" data-copied="Copied" hidden>Copy</button>
//     copies the text (or value) of the element with that id; shown only where there is a script. {{template "copied" "ID"}}.
//
//   <time datetime="2026-11-22T09:00:00Z">2026-11-22 09:00 UTC</time>   shown in the reader's own time. {{time .At}}, {{date .At}}.
//
//   <input type="password" data-rules-of="rules">, <ul id="rules" data-rules="/password/rules">, in it <li data-rule="too_short">
//     each rule is marked (class "kept") as one types, by the server's answer {"broken": ["too_short"]} to POST {password, and
//     every hidden field of the form}.
//
//   <form data-passkey="create|get" method="post" hidden>             shown only where the browser has passkeys
//     <script type="application/json" data-options>{{.Options}}</script>   PublicKeyCredential{Creation,Request}OptionsJSON
//     <input type="hidden" name="credential">                          the answer: PublicKeyCredential.toJSON() as text
//     <p class="mistake" role="alert" data-trouble="Nothing was done: try again, or choose another way." hidden></p>
//     <button>Use a passkey</button>                                   pressing it asks the browser, then the form is sent
//   </form>
//   An element with data-without="passkey" is hidden where the browser has passkeys.

const all = (selector) => document.querySelectorAll(selector);

// announce has a screen reader say what only the eye would see.
function announce(text) {
  const live = document.getElementById("live");
  live.textContent = "";
  setTimeout(() => { live.textContent = text; }, 50); // a text that was there already is said again
}

// Copy buttons.

function select(element) {
  if ("select" in element) return element.select();
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

async function copy(button) {
  const from = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText("value" in from ? from.value : from.textContent.trim());
  } catch {
    return select(from); // not allowed: one key is left to press
  }
  const said = button.textContent;
  announce(button.dataset.copied);
  if (said === button.dataset.copied) return;
  button.textContent = button.dataset.copied;
  setTimeout(() => { button.textContent = said; }, 2000);
}

for (const button of all("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}

// Times, where the reader is.

const language = document.documentElement.lang;
const dates = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const instants = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

for (const time of all("time[datetime]")) {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) continue;
  time.title = time.textContent.endsWith("UTC") ? time.textContent : time.textContent + " UTC";
  time.textContent = (time.textContent.endsWith("UTC") ? instants : dates).format(at);
}

// The rules of a password, as one types. The server judges; what it does not answer changes nothing.

async function judge(input, list, controller) {
  const body = new URLSearchParams({ password: input.value });
  for (const hidden of input.form.querySelectorAll("input[type=hidden]")) body.append(hidden.name, hidden.value);
  const answer = await fetch(list.dataset.rules, { method: "POST", body, signal: controller.signal });
  if (!answer.ok) return;
  const { broken } = await answer.json();
  for (const rule of list.querySelectorAll("[data-rule]")) {
    rule.classList.toggle("kept", input.value !== "" && !broken.includes(rule.dataset.rule));
  }
}

for (const input of all("input[data-rules-of]")) {
  const list = document.getElementById(input.dataset.rulesOf);
  if (!list) continue;
  let timer, controller = new AbortController();
  input.addEventListener("input", () => {
    clearTimeout(timer);
    controller.abort(); // an answer to what was typed before must not come last
    timer = setTimeout(() => {
      controller = new AbortController();
      judge(input, list, controller).catch(() => {});
    }, 200);
  });
}

// Passkeys. WebAuthn Level 3 section 5.1 gives the JSON of options and answers; browsers that know the API know it late, so
// it is read and written here.

const bytesOf = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const textOf = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const named = (list) => list?.map((credential) => ({ ...credential, id: bytesOf(credential.id) }));

function optionsOf(form) {
  let json = JSON.parse(form.querySelector("[data-options]").textContent);
  if (typeof json === "string") json = JSON.parse(json);
  json = json.publicKey ?? json;
  const options = { ...json, challenge: bytesOf(json.challenge) };
  if (json.user) options.user = { ...json.user, id: bytesOf(json.user.id) };
  if (json.excludeCredentials) options.excludeCredentials = named(json.excludeCredentials);
  if (json.allowCredentials) options.allowCredentials = named(json.allowCredentials);
  return options;
}

function answerOf(credential) {
  const response = { clientDataJSON: textOf(credential.response.clientDataJSON) };
  for (const part of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (part in credential.response && credential.response[part] && credential.response[part] instanceof ArrayBuffer) {
      response[part] = textOf(credential.response[part]);
    }
  }
  if (credential.response.getTransports) response.transports = credential.response.getTransports();
  return {
    id: credential.id, rawId: textOf(credential.rawId), type: credential.type, response,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

async function ask(form) {
  const trouble = form.querySelector("[data-trouble]");
  const button = form.querySelector("button");
  trouble.hidden = true;
  button.disabled = true;
  try {
    const publicKey = optionsOf(form);
    const credential = form.dataset.passkey === "create"
      ? await navigator.credentials.create({ publicKey }) : await navigator.credentials.get({ publicKey });
    form.elements.credential.value = JSON.stringify(answerOf(credential));
    form.submit();
  } catch { // given up, too late, or a device that cannot: one may always try again
    trouble.textContent = trouble.dataset.trouble;
    trouble.hidden = false;
    button.disabled = false;
  }
}

if (window.PublicKeyCredential) {
  for (const form of all("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      ask(form);
    });
  }
  for (const without of all("[data-without=passkey]")) without.hidden = true;
}

// Menus close by Escape, and by a press beside them.

function close(menu) {
  const inside = menu.contains(document.activeElement);
  menu.open = false;
  if (inside) menu.querySelector("summary").focus();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of all("details.profile[open], details.burger[open]")) close(menu);
});
document.addEventListener("click", (event) => {
  for (const menu of all("details.profile[open], details.burger[open]")) if (!menu.contains(event.target)) menu.open = false;
});
