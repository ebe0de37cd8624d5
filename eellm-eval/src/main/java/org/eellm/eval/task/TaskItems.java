package org.eellm.eval.task;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.eval.EvalException;
import org.eellm.eval.task.Item.Pair;
import org.eellm.eval.task.Item.Question;
import org.eellm.eval.task.TaskSpec.FewshotSampler;
import org.eellm.eval.task.TaskSpec.OutputType;

/** Makes a task's items of its records. */
public final class TaskItems {
  private static final int NO_EXAMPLE = -1;

  private final TaskSpec spec;
  private final TaskData data;

  private TaskItems(TaskSpec spec, TaskData data) {
    this.spec = spec;
    this.data = data;
  }

  /**
   * Reads a task's items.
   *
   * @throws org.eellm.data.DataException if the data set cannot be read
   * @throws EvalException if a record has not what the task needs
   */
  public static List<Item> read(TaskSpec spec, TaskData data) {
    return new TaskItems(spec, data).items();
  }

  private List<Item> items() {
    List<SequencedMap<String, Object>> records = records();
    List<SequencedMap<String, Object>> examples =
        spec.numFewshot() == 0 || spec.fewshotFiles().isEmpty()
            ? records
            : records(spec.fewshotFiles(), Map.of());
    boolean own = examples == records;
    Map<String, Integer> counts = new HashMap<>();
    List<Item> items = new ArrayList<>();
    for (int i = 0; i < records.size(); i++) {
      SequencedMap<String, Object> record = records.get(i);
      String subtask = template("subtask", spec.subtask()).render(record);
      if (counts.merge(subtask, 1, Integer::sum) > data.limit()) {
        continue;
      }
      String before = before(record, examples, own ? i : NO_EXAMPLE);
      items.add(new Item(items.size(), subtask, question(record, before)));
    }
    if (items.isEmpty()) {
      throw new EvalException(
          "%s: %s hold no record; check the data set".formatted(spec.task(), spec.files()));
    }
    return items;
  }

  private List<SequencedMap<String, Object>> records() {
    return spec.outputType() == OutputType.LOGLIKELIHOOD_ROLLING
        ? texts()
        : records(spec.files(), spec.beside());
  }

  private List<SequencedMap<String, Object>> records(
      List<String> names, Map<String, String> beside) {
    List<SequencedMap<String, Object>> records = new ArrayList<>();
    for (String name : names) {
      List<Path> files = RecordFiles.find(data.folder(), name);
      for (Path file : files) {
        if (!RecordFiles.kind(file).equals(RecordFiles.kind(files.getFirst()))) {
          throw new EvalException(
              "%s: %s and %s are of two kinds; keep the data set once"
                  .formatted(spec.task(), files.getFirst(), file));
        }
        records.addAll(RecordFiles.read(file, spec.columns()));
      }
    }
    beside.forEach((field, name) -> join(records, field, name));
    for (SequencedMap<String, Object> record : records) {
      spec.fields()
          .forEach((field, text) -> record.put(field, template(field, text).render(record)));
    }
    return records;
  }

  private void join(List<SequencedMap<String, Object>> records, String field, String name) {
    List<String> lines =
        RecordFiles.find(data.folder(), name).stream()
            .flatMap(file -> RecordFiles.lines(file).stream())
            .toList();
    if (lines.size() != records.size()) {
      throw new EvalException(
          "%s: beside: %s has %d lines, but there are %d records; they must be of the same data set"
              .formatted(spec.task(), name, lines.size(), records.size()));
    }
    for (int i = 0; i < lines.size(); i++) {
      records.get(i).put(field, lines.get(i));
    }
  }

  /** The documents of text files, long ones in pieces. */
  private List<SequencedMap<String, Object>> texts() {
    List<String> inputs =
        spec.files().stream()
            .flatMap(name -> RecordFiles.find(data.folder(), name).stream())
            .map(Path::toString)
            .toList();
    List<SequencedMap<String, Object>> records = new ArrayList<>();
    try (Corpus.DocumentReader pass = TextCorpus.of(inputs, TextCorpus.Format.DEFAULT).open()) {
      for (var piece = pass.next(); piece.isPresent(); piece = pass.next()) {
        records.add(new LinkedHashMap<>(Map.of("text", piece.get().text())));
      }
    }
    return records;
  }

  private Template template(String key, String text) {
    return new Template(text, spec.task() + ": " + key);
  }

  /**
   * Description and examples of the same subtask, as they stand in front of a record's prompt.
   *
   * @param self which of the examples the record is, or {@link #NO_EXAMPLE}
   */
  private String before(
      SequencedMap<String, Object> record, List<SequencedMap<String, Object>> examples, int self) {
    StringBuilder text =
        new StringBuilder(template("description", spec.description()).render(record));
    if (spec.numFewshot() == 0) {
      return text.toString();
    }
    String group = template("subtask", spec.subtask()).render(record);
    List<Integer> others =
        IntStream.range(0, examples.size())
            .filter(i -> self != i)
            .filter(i -> template("subtask", spec.subtask()).render(examples.get(i)).equals(group))
            .boxed()
            .collect(Collectors.toCollection(ArrayList::new));
    if (others.size() < spec.numFewshot()) {
      throw new EvalException(
          "%s: num_fewshot: %d, but there are %d records to take examples from; use fewer"
              .formatted(spec.task(), spec.numFewshot(), others.size()));
    }
    if (spec.fewshotSampler() == FewshotSampler.RANDOM) {
      Collections.shuffle(others, new Random(31 * data.seed() + Math.max(0, self)));
    }
    List<Integer> chosen = others.subList(0, spec.numFewshot());
    for (int example : chosen) {
      text.append(solved(examples.get(example))).append(spec.fewshotDelimiter());
    }
    return text.toString();
  }

  /** A record with its right answer. */
  private String solved(SequencedMap<String, Object> record) {
    return switch (question(record, "")) {
      case Question.Loglikelihood(Pair pair) -> pair.context() + pair.continuation();
      case Question.MultipleChoice choice -> {
        Pair pair = choice.pairs().get(choice.right());
        yield pair.context() + pair.continuation();
      }
      case Question.GenerateUntil writing ->
          writing.prompt() + spec.targetDelimiter() + writing.references().getFirst();
      case Question.LoglikelihoodRolling _ ->
          throw new EvalException(spec.task() + ": num_fewshot: a whole text takes no examples");
    };
  }

  private Question question(SequencedMap<String, Object> record, String before) {
    String text = template("doc_to_text", spec.docToText()).render(record);
    String target = template("doc_to_target", spec.docToTarget()).render(record);
    return switch (spec.outputType()) {
      case LOGLIKELIHOOD_ROLLING -> new Question.LoglikelihoodRolling(text);
      case LOGLIKELIHOOD ->
          new Question.Loglikelihood(new Pair(before + text, spec.targetDelimiter() + target));
      case MULTIPLE_CHOICE -> choice(record, before, text, target);
      case GENERATE_UNTIL ->
          new Question.GenerateUntil(
              before + text,
              spec.references().isEmpty()
                  ? List.of(target)
                  : template("references", spec.references()).list(record));
    };
  }

  private Question choice(
      SequencedMap<String, Object> record, String before, String text, String target) {
    List<String> choices =
        spec.docToChoice().size() == 1
            ? template("doc_to_choice", spec.docToChoice().getFirst()).list(record)
            : spec.docToChoice().stream()
                .map(choice -> template("doc_to_choice", choice).render(record))
                .toList();
    if (spec.multipleInput()) {
      List<Pair> pairs =
          choices.stream()
              .map(choice -> new Pair(before + choice, spec.targetDelimiter() + target))
              .toList();
      return new Question.MultipleChoice(pairs, choices, right(record, text, choices));
    }
    List<Pair> pairs =
        choices.stream()
            .map(choice -> new Pair(before + text, spec.targetDelimiter() + choice))
            .toList();
    return new Question.MultipleChoice(pairs, choices, right(record, target, choices));
  }

  private int right(SequencedMap<String, Object> record, String target, List<String> choices) {
    if (!spec.choiceLabels().isEmpty()) {
      List<String> labels = template("choice_labels", spec.choiceLabels()).list(record);
      if (labels.contains(target)) {
        return labels.indexOf(target);
      }
    } else if (choices.contains(target)) {
      return choices.indexOf(target);
    } else if (target.matches("\\d{1,4}") && Integer.parseInt(target) < choices.size()) {
      return Integer.parseInt(target);
    }
    throw new EvalException(
        "%s: the right answer '%s' is none of the choices, %s; check doc_to_target"
            .formatted(spec.task(), target, choices));
  }
}
