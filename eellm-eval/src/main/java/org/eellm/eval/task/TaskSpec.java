package org.eellm.eval.task;

import java.util.List;
import java.util.Locale;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.config.setting.RecordCopy;

/**
 * A task as its YAML file has it; where lm-evaluation-harness has the same thing, it has the same
 * name. Texts are Jinja templates over a record's fields.
 *
 * @param task its name
 * @param version of the task, which results carry
 * @param outputType what the model is asked for
 * @param files of records, within the data folder: names or globs
 * @param columns see {@link org.eellm.eval.task.RecordFiles#read}
 * @param beside further fields by name, each a file with a line for each record
 * @param fields further fields by name, made of those before them
 * @param description stands in front of a prompt
 * @param docToText the prompt
 * @param docToTarget the answer: of a choice its number from 0, its label or its text
 * @param docToChoice the answers to choose from; a single {@code {{list}}} is a list of them
 * @param choiceLabels a list of names that {@code docToTarget} may have for the choices
 * @param multipleInput whether the choices are prompts, each followed by {@code docToTarget}, and
 *     {@code docToText} tells the right one
 * @param references a list of answers that are right, where there are several
 * @param targetDelimiter between prompt and answer
 * @param fewshotDelimiter between an example and what follows it
 * @param numFewshot examples in front of a prompt
 * @param fewshotFiles records that examples are taken from; the task's own others if empty
 * @param fewshotSampler which of these
 * @param subtask the group of a record that gets a result of its own
 * @param metrics what is measured
 * @param until texts that end an answer
 * @param maxGenToks most tokens of an answer
 * @param temperature of an answer
 */
public record TaskSpec(
    String task,
    double version,
    OutputType outputType,
    List<String> files,
    List<String> columns,
    SequencedMap<String, String> beside,
    SequencedMap<String, String> fields,
    String description,
    String docToText,
    String docToTarget,
    List<String> docToChoice,
    String choiceLabels,
    boolean multipleInput,
    String references,
    String targetDelimiter,
    String fewshotDelimiter,
    int numFewshot,
    List<String> fewshotFiles,
    FewshotSampler fewshotSampler,
    String subtask,
    List<Metric> metrics,
    List<String> until,
    int maxGenToks,
    double temperature) {

  /** The kind of answer that the model is asked for, in lm-evaluation-harness's words. */
  public enum OutputType {
    /** How probable an answer is. */
    LOGLIKELIHOOD,
    /** Which of several answers is the most probable. */
    MULTIPLE_CHOICE,
    /** How probable a whole text is. */
    LOGLIKELIHOOD_ROLLING,
    /** To write an answer. */
    GENERATE_UNTIL
  }

  /** Which records are examples. */
  public enum FewshotSampler {
    /** Drawn from the seed. */
    RANDOM,
    /** The first ones, in their order. */
    FIRST_N
  }

  public TaskSpec {
    files = List.copyOf(files);
    columns = List.copyOf(columns);
    docToChoice = List.copyOf(docToChoice);
    fewshotFiles = List.copyOf(fewshotFiles);
    metrics = List.copyOf(metrics);
    until = List.copyOf(until);
    ConfigException.require(!files.isEmpty(), "files", "there are none; name the data set's");
    ConfigException.requireNotNegative(numFewshot, "num_fewshot", "use 0 or more");
    ConfigException.requireAtLeast(1, maxGenToks, "max_gen_toks");
    ConfigException.require(!metrics.isEmpty(), "metrics", "there are none; name at least one");
    for (Metric metric : metrics) {
      ConfigException.require(
          metric.suits(outputType),
          "metrics",
          "%s is none of %s; use one of %s",
          metric,
          lower(outputType),
          suitable(outputType));
    }
    ConfigException.require(
        docToChoice.isEmpty() == (outputType != OutputType.MULTIPLE_CHOICE),
        "doc_to_choice",
        "belongs to output_type multiple_choice, and only there");
    ConfigException.require(
        !multipleInput || outputType == OutputType.MULTIPLE_CHOICE,
        "multiple_input",
        "belongs to output_type multiple_choice");
  }

  private static String suitable(OutputType type) {
    return Stream.of(Metric.values())
        .filter(metric -> metric.suits(type))
        .map(Metric::toString)
        .collect(Collectors.joining(", "));
  }

  private static String lower(OutputType type) {
    return type.name().toLowerCase(Locale.ROOT);
  }

  /**
   * Refuses a task that asks for likelihoods, which are the same in all ways to decode.
   *
   * @param option that names the task
   */
  public void requireGenerative(String option) {
    ConfigException.require(
        outputType == OutputType.GENERATE_UNTIL,
        option,
        task
            + " asks for likelihoods, which exits do not change; use one whose answers are"
            + " written");
  }

  /** A copy with another number of examples. */
  public TaskSpec withFewshot(int count) {
    return RecordCopy.with(this, "numFewshot", count);
  }

  /** A copy with another limit on an answer's tokens. */
  public TaskSpec withMaxGenToks(int count) {
    return RecordCopy.with(this, "maxGenToks", count);
  }
}
