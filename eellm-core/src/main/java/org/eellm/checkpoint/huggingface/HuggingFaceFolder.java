package org.eellm.checkpoint.huggingface;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import org.eellm.checkpoint.huggingface.family.Families;
import org.eellm.checkpoint.huggingface.family.Family;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A folder's {@code config.json} and {@code generation_config.json}.
 *
 * @param fields of {@code config.json}, as {@link HuggingFaceConfig#fields} has them
 * @param family that the files are of
 * @param config the model
 */
public record HuggingFaceFolder(JsonFields fields, Family family, HuggingFaceConfig config) {
  private static final Logger LOG = LoggerFactory.getLogger(HuggingFaceFolder.class);

  /** Fields that say nothing about the model's mathematics. */
  private static final Set<String> HARMLESS =
      Set.of(
          "_name_or_path",
          "architectures",
          "output_attentions",
          "output_hidden_states",
          "pad_token_id",
          "pretraining_tp",
          "return_dict",
          "transformers_version",
          "use_cache");

  /**
   * Reads a folder's files.
   *
   * @throws CheckpointException as {@link HuggingFaceConfig#read}
   */
  public static HuggingFaceFolder read(Path folder) {
    JsonFields file = HuggingFaceConfig.fields(folder);
    Family family = Families.of(file);
    JsonFields fields = family.complete(file);
    OptionalInt bos = firstToken(fields);
    List<Integer> eos = fields.numbers("eos_token_id");
    Path generation = folder.resolve(HuggingFaceConfig.GENERATION_CONFIG);
    if (Files.exists(generation)) {
      // Other tools too let this file's ids prevail when they generate.
      JsonFields overrides = new JsonFields(generation.toString(), JsonFiles.read(generation));
      bos = overrides.has("bos_token_id") ? firstToken(overrides) : bos;
      eos = overrides.has("eos_token_id") ? overrides.numbers("eos_token_id") : eos;
    }
    try {
      DataType dtype = dtype(fields);
      ExitLayout exits = exits(folder, fields);
      HuggingFaceConfig config =
          new HuggingFaceConfig(
              new Architecture(family.model(file).withDtype(dtype), exits), bos, eos);
      reportUnused(file);
      return new HuggingFaceFolder(file, family, config);
    } catch (ConfigException failure) {
      throw new CheckpointException(file.place() + ": " + failure.getMessage(), failure);
    }
  }

  private static OptionalInt firstToken(JsonFields fields) {
    return fields.numbers("bos_token_id").stream().mapToInt(Integer::intValue).findFirst();
  }

  /** The number format that the model computes in. */
  private static DataType dtype(JsonFields fields) {
    Optional<String> older = fields.optionalText("torch_dtype");
    String name = fields.optionalText("dtype").or(() -> older).orElse("float32");
    return switch (name) {
      case "bfloat16" -> DataType.BFLOAT16;
      // The wider format holds every value of these exactly, or as nearly as we compute.
      case "float32", "float16", "float64" -> DataType.FLOAT32;
      default ->
          throw new CheckpointException(
              "%s: torch_dtype: %s is not supported; float32, bfloat16, float16 and float64 are"
                  .formatted(fields.place(), name));
    };
  }

  private static ExitLayout exits(Path folder, JsonFields fields) {
    Optional<JsonFields> within = fields.object(HuggingFaceConfig.EARLY_EXIT);
    if (!HeadFiles.isIn(folder)) {
      return within.map(HeadFiles::exits).orElse(ExitLayout.none());
    }
    if (within.isPresent()) {
      throw new CheckpointException(
          "%s: early_exit is there though %s is too; remove one of them"
              .formatted(fields.place(), folder.resolve(HeadFiles.LAYOUT)));
    }
    return HeadFiles.read(folder).exits();
  }

  private static void reportUnused(JsonFields fields) {
    for (String name : fields.unasked()) {
      if (!HARMLESS.contains(name)) {
        LOG.debug("{}: {} is unknown and ignored", fields.place(), name);
      }
    }
  }
}
