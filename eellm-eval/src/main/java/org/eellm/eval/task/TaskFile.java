package org.eellm.eval.task;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.eellm.config.ConfigException;
import org.eellm.config.yaml.StrictYaml;

/** Reads tasks: those that come with eellm, by name, and others, by the path of their file. */
public final class TaskFile {
  /** Names of the tasks that come with eellm. */
  public static final List<String> NAMES =
      List.of(
          "arc_challenge",
          "arc_easy",
          "blimp",
          "boolq",
          "cnn_dailymail",
          "gsm8k",
          "hellaswag",
          "lambada",
          "mmlu",
          "narrativeqa",
          "naturalqa",
          "piqa",
          "text",
          "winogrande",
          "xsum");

  private TaskFile() {}

  /**
   * Reads a task.
   *
   * @param name one of {@link #NAMES}, or the path of a file ending in {@code .yaml}
   * @throws ConfigException if there is none, or anything in it cannot be honoured
   */
  public static TaskSpec read(String name) {
    if (name.endsWith(".yaml")) {
      return parse(StrictYaml.textOf(Path.of(name)), name);
    }
    if (!NAMES.contains(name)) {
      throw new ConfigException(
          "task '%s' is none of %s; use one of these, or the path of your own YAML file"
              .formatted(name, String.join(", ", NAMES)));
    }
    String resource = "tasks/" + name + ".yaml";
    return parse(resource(resource), resource);
  }

  private static TaskSpec parse(String yaml, String name) {
    return StrictYaml.parse(yaml, name, resource("task-defaults.yaml"), TaskSpec.class);
  }

  private static String resource(String name) {
    try (InputStream stream = TaskFile.class.getResourceAsStream(name)) {
      if (stream == null) {
        throw new ConfigException(name + ": is not part of this build");
      }
      return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
