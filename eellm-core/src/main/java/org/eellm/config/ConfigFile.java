package org.eellm.config;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.config.ExitsConfig.Curriculum;
import org.eellm.config.ExitsConfig.HeadPart;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.OptimizerConfig.Algorithm;
import org.eellm.config.OptimizerConfig.Schedule;
import org.eellm.config.setting.IneffectiveSettings;
import org.eellm.config.setting.NoEffectWith.Choice;
import org.eellm.config.yaml.StrictYaml;
import org.eellm.config.yaml.YamlReader;

/**
 * Reads and writes {@link RunConfig} as YAML with snake_case keys.
 *
 * <p>Three layers are merged, key by key: the defaults in {@code defaults.yaml} beside this class,
 * a file, and overrides {@code section.key=value}. The result is bound strictly: an unknown key, a
 * value of another type, or one that cannot be honoured is a {@link ConfigException} of one line
 * that begins with the place, {@code file:line} or {@code --set}.
 */
public final class ConfigFile {
  private static final String OVERRIDES = "--set ";
  private static final Pattern OVERRIDE =
      Pattern.compile("(?<path>\\w+(\\.\\w+)*)=(?<value>\\s*\\S.*)", Pattern.DOTALL);

  private static final ObjectNode DEFAULTS =
      (ObjectNode)
          YamlReader.readFile(resourceText("defaults.yaml"), "defaults.yaml", new HashMap<>());

  private final ObjectNode tree = DEFAULTS.deepCopy();
  private final Map<String, String> places = new HashMap<>();

  /** The tree without overrides. */
  private ObjectNode file = tree;

  /**
   * A configuration before it is read.
   *
   * @param name what messages call it
   */
  public record Text(String yaml, String name) {
    /**
     * A file's.
     *
     * @throws ConfigException if it cannot be read
     */
    public static Text of(Path file) {
      return new Text(StrictYaml.textOf(file), file.toString());
    }

    /**
     * One of the presets shipped in {@code configs/}, such as {@code 30m}.
     *
     * @throws ConfigException if there is none of this name
     */
    public static Text ofPreset(String name) {
      String resource = "configs/" + name + ".yaml";
      return new Text(resourceText("/" + resource), resource);
    }
  }

  private ConfigFile() {}

  /** The defaults alone. */
  public static RunConfig defaults() {
    return new ConfigFile().bind();
  }

  /**
   * Reads a file over the defaults.
   *
   * @param overrides each {@code section.key=value} with a value in YAML; later ones win
   * @throws ConfigException if the file cannot be read or anything in it cannot be honoured
   */
  public static RunConfig read(Path file, List<String> overrides) {
    return read(Text.of(file), overrides);
  }

  /**
   * Reads a file for a run that tunes a model's exits. What the model is made of stands between the
   * defaults and the file, which may say other than the model in two things: its number format, and
   * which of its exits are tuned.
   *
   * @param overrides as in {@link #read}
   * @param tune the model, and the heads to start from
   * @param architecture of the model with these heads
   * @throws ConfigException as {@link #read}, and if the file describes another model
   */
  public static RunConfig readTuning(
      Text file, List<String> overrides, TuneConfig tune, Architecture architecture) {
    ObjectNode base = described(architecture);
    ObjectNode folders = base.putObject("tune");
    folders.set("model", StrictYaml.tree(tune.model()));
    folders.set("heads", StrictYaml.tree(tune.heads()));
    return readOver(base, List.of("dtype"), file, overrides);
  }

  /**
   * Reads a file for a run that trains a model on. What the model is made of stands between the
   * defaults and the file, which may say other than the model in these things: its number format,
   * its dropout, and which of its exits it keeps.
   *
   * @param overrides as in {@link #read}
   * @param model the folder
   * @param architecture of that model
   * @throws ConfigException as {@link #read}, and if the file describes another model
   */
  public static RunConfig readTrainingOn(
      Text file, List<String> overrides, Path model, Architecture architecture) {
    ObjectNode base = described(architecture);
    base.putObject("train").put("model", model.toString());
    return readOver(base, List.of("dtype", "hidden_dropout", "attention_dropout"), file, overrides);
  }

  /** The sections of a model that is there. */
  private static ObjectNode described(Architecture architecture) {
    ObjectNode base = JsonNodeFactory.instance.objectNode();
    base.set("model", StrictYaml.tree(architecture.model().withoutDropout()));
    ExitLayout exits = architecture.exits();
    ObjectNode heads = base.putObject("exits");
    heads.set("layers", StrictYaml.tree(exits.layers()));
    if (!exits.layers().isEmpty()) {
      heads.set("head", StrictYaml.tree(parts(exits)));
      heads.put("tie_output", exits.tieOutput());
    }
    return base;
  }

  /**
   * Reads a file over a model that is there.
   *
   * @param free keys of the model that the file may change
   */
  private static RunConfig readOver(
      ObjectNode base, List<String> free, Text file, List<String> overrides) {
    var config = new ConfigFile();
    JsonNode exits = base.path("exits").path("layers").deepCopy();
    merge(config.tree, base);
    config.addFile(file);
    config.file = config.tree.deepCopy();
    overrides.forEach(config::addOverride);
    base.withObject("/model").remove(free);
    base.withObject("/exits").remove("layers");
    config.requireSame(base);
    RunConfig bound = config.bind();
    Set<Integer> there = new TreeSet<>();
    exits.forEach(layer -> there.add(layer.asInt()));
    for (int layer : bound.exits().layers()) {
      if (!there.contains(layer)) {
        throw config.refusal(
            "exits.layers",
            "%d is none of the model's exits %s; add it with eellm add-exits"
                .formatted(layer, there));
      }
    }
    return bound;
  }

  private static List<HeadPart> parts(ExitLayout exits) {
    List<HeadPart> parts = new ArrayList<>();
    if (exits.mlp()) {
      parts.add(HeadPart.MLP);
    }
    if (exits.block()) {
      parts.add(HeadPart.BLOCK);
    }
    if (exits.norm()) {
      parts.add(HeadPart.NORM);
    }
    return parts;
  }

  /** Settings that the file may not have changed. */
  private void requireSame(ObjectNode base) {
    for (Map.Entry<String, JsonNode> section : base.properties()) {
      for (Map.Entry<String, JsonNode> setting : section.getValue().properties()) {
        JsonNode given = tree.path(section.getKey()).path(setting.getKey());
        JsonNode own = setting.getValue();
        boolean same =
            given.isNumber() && own.isNumber()
                ? given.doubleValue() == own.doubleValue()
                : given.equals(own);
        if (!same) {
          throw refusal(
              section.getKey() + "." + setting.getKey(),
              "%s is not the model's %s; leave it out"
                  .formatted(IneffectiveSettings.text(given), IneffectiveSettings.text(own)));
        }
      }
    }
  }

  private String placeOf(String key) {
    return places.containsKey(key) ? places.get(key) + ": " : "";
  }

  private ConfigException refusal(String key, String problem) {
    return new ConfigException(placeOf(key) + key + ": " + problem);
  }

  /**
   * Reads one of the presets shipped in {@code configs/}, such as {@code 30m}.
   *
   * @param overrides as in {@link #read}
   */
  public static RunConfig preset(String name, List<String> overrides) {
    return read(Text.ofPreset(name), overrides);
  }

  /** Writes the whole of a configuration; {@link #read} gives an equal one back. */
  public static void write(RunConfig config, Path file) throws IOException {
    StrictYaml.write(config, file);
  }

  /** Reads a text over the defaults; as {@link #read(Path, List)}. */
  public static RunConfig read(Text text, List<String> overrides) {
    var config = new ConfigFile();
    config.addFile(text);
    config.file = config.tree.deepCopy();
    overrides.forEach(config::addOverride);
    return config.bind();
  }

  private void addFile(Text text) {
    merge(tree, StrictYaml.mapping(text.yaml(), text.name(), "section, as in train:", places));
  }

  private void addOverride(String override) {
    Matcher form = OVERRIDE.matcher(override);
    if (!form.matches()) {
      throw new ConfigException("--set " + override + ": is not of the form section.key=value");
    }
    String path = form.group("path");
    String place = OVERRIDES + override;
    JsonNode value = YamlReader.readValue(form.group("value"), path, place, places);
    List<String> keys = List.of(path.split("\\."));
    for (int depth = keys.size() - 1; depth >= 0; depth--) {
      places.putIfAbsent(String.join(".", keys.subList(0, depth + 1)), place);
      value = JsonNodeFactory.instance.objectNode().set(keys.get(depth), value);
    }
    merge(tree, (ObjectNode) value);
  }

  /** Puts {@code update} over {@code base}: mappings key by key, everything else as a whole. */
  private static void merge(ObjectNode base, ObjectNode update) {
    JsonNode type = update.get("type");
    if (type != null && base.has("type") && !type.equals(base.get("type"))) {
      base.removeAll(); // The keys of another type mean nothing to this one.
    }
    for (Map.Entry<String, JsonNode> entry : update.properties()) {
      if (entry.getValue() instanceof ObjectNode inner
          && base.get(entry.getKey()) instanceof ObjectNode outer) {
        merge(outer, inner);
      } else {
        base.set(entry.getKey(), entry.getValue());
      }
    }
  }

  private RunConfig bind() {
    JsonNode usual = StrictYaml.tree(bound(DEFAULTS));
    RunConfig config = bound(tree);
    for (var found = ineffective(config, usual);
        found.isPresent();
        found = ineffective(config, usual)) {
      if (!givesWay(found.get())) {
        throw found.get().refusal(placeOf(found.get().key()));
      }
      reset(found.get().key());
      config = bound(tree);
    }
    return config;
  }

  private static Optional<IneffectiveSettings.Ineffective> ineffective(
      RunConfig config, JsonNode usual) {
    return IneffectiveSettings.first(
        RunConfig.class, choice -> isMade(choice, config), StrictYaml.tree(config), usual);
  }

  private static boolean isMade(Choice choice, RunConfig config) {
    return switch (choice) {
      case LEARNED_POSITIONS -> config.model().positionEmbedding() == PositionEmbedding.LEARNED;
      case NO_EXITS -> config.exits().layers().isEmpty();
      case NO_DISTILLATION -> config.exits().distillation() == 0;
      case CONSTANT_WEIGHTS -> config.exits().curriculum() == Curriculum.CONSTANT;
      case ROTATIONAL_WEIGHTS -> config.exits().curriculum() == Curriculum.ROTATIONAL;
      case GRADUAL_WEIGHTS -> config.exits().curriculum() == Curriculum.GRADUAL;
      case VALIDATION_DATA -> !config.data().validation().isEmpty();
      case NO_LAYER_DROPOUT -> config.train().layerDropout() == 0;
      case NO_RAMPUP -> config.train().rampup().samples() == 0;
      case NO_EVALUATION -> config.train().evalInterval() == 0;
      case NO_SPIKE_GUARD -> config.train().spikeThreshold() == 0;
      case CONSTANT_RATE -> config.optimizer().schedule() == Schedule.CONSTANT;
      case NOT_WSD -> config.optimizer().schedule() != Schedule.WSD;
      case NOT_MUON -> config.optimizer().algorithm() != Algorithm.MUON;
      case ONE_REPLICA -> config.parallel().copies() == 1;
      case ONE_STAGE -> config.parallel().pp() == 1;
      case TUNING -> config.tune().model().isPresent();
      case TUNING_EXITS -> !config.tune().learning().goesThroughTrunk();
      case LORA -> config.tune().lora().rank() > 0;
      case NO_LORA -> config.tune().lora().rank() == 0;
      case TUNING_ON_TEXT -> config.tune().learning() == Learning.EXITS;
      case TUNING_DRAFT_HEAD -> config.tune().learning() == Learning.DRAFT_HEAD;
      case TRAINING_ALL -> config.tune().model().isEmpty();
    };
  }

  private RunConfig bound(ObjectNode settings) {
    return StrictYaml.bind(settings, RunConfig.class, places, DEFAULTS);
  }

  /** Whether the file set it, and an override took its effect away: what a user says last wins. */
  private boolean givesWay(IneffectiveSettings.Ineffective setting) {
    if (placeOf(setting.key()).startsWith(OVERRIDES)) {
      return false;
    }
    try {
      return !isMade(setting.choice(), bound(file));
    } catch (ConfigException incomplete) { // the file needs the overrides
      return false;
    }
  }

  private void reset(String key) {
    String pointer = "/" + key.replace('.', '/');
    int last = pointer.lastIndexOf('/');
    ((ObjectNode) tree.at(pointer.substring(0, last)))
        .set(pointer.substring(last + 1), DEFAULTS.at(pointer).deepCopy());
  }

  private static String resourceText(String name) {
    try (InputStream stream = ConfigFile.class.getResourceAsStream(name)) {
      if (stream == null) {
        throw new ConfigException(name.replaceFirst("^/", "") + ": is not part of this build");
      }
      return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
