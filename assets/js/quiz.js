// Check yourself: a question is written as a list of options and a folded list of reasons, one for each.
// Here the two become a form; without this script, in Jupyter and in Colab they are read as they are written.

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// What a list item says, in an element of its own.
function copy(item) {
  return element("span", {}, ...(item.querySelector("p") ?? item).cloneNode(true).childNodes);
}

function ask(answer, number) {
  const options = answer.previousElementSibling;
  const question = options.previousElementSibling;
  const reasons = [...answer.querySelectorAll("li")];
  const legend = element("legend", {}, ...question.childNodes);
  const labels = [...options.children].map((item, index) => element(
    "label", {},
    element("input", { type: "radio", name: `quiz-${number}`, value: index }),
    copy(item),
  ));
  const said = element("div", { role: "status" });
  const form = element(
    "form", { className: "course-quiz-form" },
    element("fieldset", {}, legend, ...labels),
    element("button", { type: "submit", textContent: "Check" }),
    said,
  );
  form.addEventListener("change", () => said.replaceChildren());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = new FormData(form).get(`quiz-${number}`);
    if (chosen === null) {
      said.replaceChildren("Choose one of the answers first.");
      return;
    }
    const reason = copy(reasons[chosen]);
    const verdict = reason.querySelector("strong"); // "B, right."
    const right = verdict.textContent.endsWith("right.");
    verdict.textContent = right ? "✓ Right." : "✗ Not this one.";
    said.replaceChildren(reason);
    if (right) answer.hidden = false;
  });
  question.remove();
  options.replaceWith(form);
  answer.querySelector("summary").textContent = "All the reasons";
  answer.hidden = true;
}

document.querySelectorAll("details.course-quiz").forEach(ask);
