package org.eellm.checkpoint.huggingface;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.eellm.checkpoint.TrunkChecksum;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.config.ExitLayout;

/**
 * Exits that lie beside a trunk, or apart from it, rather than in it: {@code exits.json} is what
 * {@code early_exit} in {@code config.json} would be, and {@code exits.safetensors} or its shards
 * have the tensors {@code exits.{n}.*}. Other tools see a plain model and nothing else.
 *
 * @param folder where the files lie
 * @param exits what they are
 * @param trunk checksum of the trunk that they were made for ({@link TrunkChecksum}); absent where
 *     they lie beside it
 */
public record HeadFiles(Path folder, ExitLayout exits, Optional<String> trunk) {
  public static final String LAYOUT = "exits.json";
  public static final String WEIGHTS = "exits.safetensors";
  public static final String PREFIX = "exits.";
  private static final String TRUNK = "trunk";

  /** Whether a folder has such files. */
  public static boolean isIn(Path folder) {
    return Files.exists(folder.resolve(LAYOUT));
  }

  /**
   * Reads what a folder's exits are.
   *
   * @throws CheckpointException if the file is malformed
   */
  public static HeadFiles read(Path folder) {
    Path path = ModelFiles.file(folder, LAYOUT);
    JsonFields fields = new JsonFields(path.toString(), JsonFiles.read(path));
    Optional<String> trunk = fields.optionalText(TRUNK);
    return new HeadFiles(folder, exits(fields), trunk);
  }

  /** The exits that the fields of {@code early_exit} describe. */
  static ExitLayout exits(JsonFields fields) {
    if (!fields.has("layers")) {
      throw new CheckpointException(fields.place() + ": layers is missing; add it");
    }
    ExitLayout layout =
        new ExitLayout(
            fields.numbers("layers"),
            fields.bool("norm"),
            fields.bool("mlp"),
            fields.bool("block"),
            fields.bool("tie_output"));
    if (!fields.unasked().isEmpty()) {
      throw new CheckpointException(
          "%s: %s is unknown; layers, norm, mlp, block and tie_output are allowed"
              .formatted(fields.place(), fields.unasked().getFirst()));
    }
    return layout;
  }

  /** Writes {@code exits.json} into {@link #folder}. */
  public void writeLayout() throws IOException {
    ObjectNode node = json(exits);
    trunk.ifPresent(checksum -> node.put(TRUNK, checksum));
    JsonFiles.write(folder.resolve(LAYOUT), node);
  }

  /** The exits in the words of {@code early_exit}. */
  public static ObjectNode json(ExitLayout exits) {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    ArrayNode layers = node.putArray("layers");
    exits.layers().forEach(layers::add);
    node.put("norm", exits.norm());
    node.put("mlp", exits.mlp());
    node.put("block", exits.block());
    node.put("tie_output", exits.tieOutput());
    return node;
  }
}
