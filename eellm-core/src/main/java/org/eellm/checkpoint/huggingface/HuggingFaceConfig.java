package org.eellm.checkpoint.huggingface;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import org.eellm.checkpoint.huggingface.family.Families;
import org.eellm.checkpoint.huggingface.family.Family;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.gguf.GgufFile;

/**
 * The contents of a model folder's {@code config.json} and {@code generation_config.json}, in
 * Hugging Face's words.
 *
 * <p>A model that a family of Hugging Face's has under our tensors' names has that family's {@code
 * model_type} and fields, so that other tools open it; any other has {@code model_type} {@code
 * eellm} and fields named after the settings of {@link ModelConfig}. Exits are in {@code
 * early_exit}: {@code layers} (counted from 1), {@code norm}, {@code mlp}, {@code block}, {@code
 * tie_output}; or the same object is in {@code exits.json}, where exits lie beside the trunk.
 *
 * @param architecture the model's shape; {@code hiddenDropout} is a matter of training and not in
 *     the files, so it is read as 0
 * @param bosTokenId the token that begins a text
 * @param eosTokenIds the tokens that end a text; may be empty
 */
public record HuggingFaceConfig(
    Architecture architecture, OptionalInt bosTokenId, List<Integer> eosTokenIds) {
  public static final String CONFIG = "config.json";
  public static final String EARLY_EXIT = "early_exit";
  public static final String GENERATION_CONFIG = "generation_config.json";

  /**
   * @throws ConfigException if a token is none of the vocabulary
   */
  public HuggingFaceConfig {
    eosTokenIds = List.copyOf(eosTokenIds);
    int vocabSize = architecture.model().vocabSize();
    bosTokenId.ifPresent(id -> requireToken("bos_token_id", id, vocabSize));
    eosTokenIds.forEach(id -> requireToken("eos_token_id", id, vocabSize));
  }

  /** A copy with other exits. */
  public HuggingFaceConfig withExits(ExitLayout exits) {
    return new HuggingFaceConfig(
        new Architecture(architecture.model(), exits), bosTokenId, eosTokenIds);
  }

  private static void requireToken(String name, int id, int vocabSize) {
    if (id >= vocabSize) {
      throw new ConfigException(
          "%s: %d is beyond the vocabulary of %d; give the id of a token"
              .formatted(name, id, vocabSize));
    }
  }

  /**
   * Reads the configuration of a model folder, or a GGUF file's.
   *
   * @throws CheckpointException if a file is missing or malformed, lacks a required field, or asks
   *     for what this version cannot compute; the message names field and value
   */
  public static HuggingFaceConfig read(Path folder) {
    if (GgufFile.isOne(folder)) {
      try (GgufModel model = GgufModel.open(folder)) {
        return model.config();
      }
    }
    return HuggingFaceFolder.read(folder).config();
  }

  /**
   * The fields of a folder's {@code config.json}; of a model that also sees, those of its text
   * model.
   *
   * @throws CheckpointException if the file is missing or malformed
   */
  public static JsonFields fields(Path folder) {
    Path path = ModelFiles.file(folder, CONFIG);
    return new JsonFields(path.toString(), textModel((ObjectNode) JsonFiles.read(path)));
  }

  /** Gemma 3's larger models have their text model's fields in one of their own. */
  private static ObjectNode textModel(ObjectNode file) {
    if (!file.path("model_type").asText().equals("gemma3")
        || !(file.get("text_config") instanceof ObjectNode text)) {
      return file;
    }
    ObjectNode all = file.deepCopy();
    all.remove(List.of("text_config", "vision_config", "architectures"));
    all.setAll(text);
    all.put("model_type", "gemma3_text");
    all.putArray("architectures").add("Gemma3ForCausalLM");
    return all;
  }

  /** Writes {@code config.json} and {@code generation_config.json} into a folder. */
  public void write(Path folder) throws IOException {
    JsonFiles.write(folder.resolve(CONFIG), config());
    JsonFiles.write(folder.resolve(GENERATION_CONFIG), generation());
  }

  /** The content of {@code generation_config.json} that {@link #write} writes. */
  public ObjectNode generation() {
    ObjectNode generation = JsonNodeFactory.instance.objectNode();
    putTokenIds(generation);
    return generation;
  }

  /** The content of {@code config.json} that {@link #write} writes. */
  public ObjectNode config() {
    return config(Families.ownOf(architecture.model()));
  }

  /**
   * The content of {@code config.json} in the fields of a family that can say what the model is.
   */
  public ObjectNode config(Family family) {
    ObjectNode node = family.config(architecture.model());
    node.put(
        "torch_dtype", architecture.model().dtype() == DataType.BFLOAT16 ? "bfloat16" : "float32");
    putTokenIds(node);
    putExits(node, architecture.exits());
    return node;
  }

  private void putTokenIds(ObjectNode node) {
    bosTokenId.ifPresent(id -> node.put("bos_token_id", id));
    if (eosTokenIds.size() == 1) {
      node.put("eos_token_id", eosTokenIds.getFirst());
    } else if (!eosTokenIds.isEmpty()) {
      ArrayNode ids = node.putArray("eos_token_id");
      eosTokenIds.forEach(ids::add);
    }
  }

  private static void putExits(ObjectNode node, ExitLayout exits) {
    if (exits.layers().isEmpty()) {
      return;
    }
    node.set(EARLY_EXIT, HeadFiles.json(exits));
  }
}
