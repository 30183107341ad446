// What Streamlit calls when the data of a viewer, of the tools, or scores have come or changed.

export default function ({ data, parentElement, setTriggerValue }) {
  const header = headerOf(data);
  if (header.scores) return hear(header.scores);
  const Kind = header.markup === undefined ? Tools : Viewer;
  parentElement.camviz ??= new Kind(parentElement);
  const event = header.picks ? "pick" : header.pastes ? "paste" : null;
  parentElement.camviz.tell = event && ((value) => setTriggerValue(event, value));
  parentElement.camviz.show(data);
  return () => parentElement.camviz.close();
}

/** Scores have come for maps that are drawn. */
function hear(scores) {
  Object.assign(store.scores, scores);
  for (const viewer of store.viewers) viewer.speak();
}
