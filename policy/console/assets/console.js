// The console's only script: what plain forms cannot do. Every page works without it but passkeys.
//
// What a page writes for it:
//
//   <button type="button" data-copy="ID" data-copied="Copied" hidden>Copy</button>
//     copies the text (or value) of the element with that id; shown only where there is a script. {{template "copied" "ID"}}.
//
//   <time datetime="2026-11-22T09:00:00Z">2026-11-22 09:00 UTC</time>   shown in the reader's own time. {{time .At}}, {{date .At}}.
//
//   <input type="password" data-rules-of="rules">, <ul id="rules" data-rules="/password/rules">, in it <li data-rule="too_short">
//     each rule is marked (class "kept") as one types, by the server's answer to POST {password, and every hidden field of the form}.
//
//   <form data-passkey="create|get" method="post" hidden>             shown only where the browser has passkeys
//     <script type="application/json" data-options>{{.Options}}</script>   PublicKeyCredential{Creation,Request}OptionsJSON
//     <input type="hidden" name="credential">                          the answer: PublicKeyCredential.toJSON() as text
//     <p class="mistake" role="alert" data-trouble="Nothing was done: try again, or choose another way." hidden></p>
//     <button>Use a passkey</button>                                   pressing it asks the browser, then the form is sent
//   </form>
