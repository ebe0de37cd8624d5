package org.eellm.checkpoint.safetensors;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.eellm.file.InputFiles;
import org.eellm.file.IoErrors;

/** Small JSON files: strict to read, written for people to read too. */
public final class JsonFiles {
  /** A config or index beyond this is no such file; the largest known indexes have a few MB. */
  private static final int MAX_BYTES = 100_000_000;

  /** Bounds how much memory a file takes, and how deep it is. */
  static final JsonFactory BOUNDED =
      JsonFactory.builder()
          .streamReadConstraints(
              StreamReadConstraints.builder()
                  .maxNestingDepth(100)
                  .maxTokenCount(10_000_000)
                  .build())
          .build();

  private static final JsonMapper JSON =
      JsonMapper.builder(BOUNDED)
          .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
          .enable(SerializationFeature.INDENT_OUTPUT)
          .build();

  private JsonFiles() {}

  /** Makes what reads JSON: for a thread that has time while another still reads options. */
  public static void prepare() {
    JSON.treeAsTokens(JSON.missingNode());
  }

  /** Reads a file whose top is a JSON object. */
  public static JsonNode read(Path path) {
    JsonNode root = read(path, JsonNode.class);
    if (!root.isObject()) {
      throw new CheckpointException(path + ": is not a JSON object; download the file again");
    }
    return root;
  }

  /** Reads a file as a value of {@code type}; unknown and missing fields are refused. */
  public static <T> T read(Path path, Class<T> type) {
    try {
      return JSON.readValue(InputFiles.text(path, MAX_BYTES), type);
    } catch (JsonProcessingException failure) {
      throw new CheckpointException(
          "%s: %s; correct the file or download it again".formatted(path, where(failure)), failure);
    } catch (IOException failure) {
      throw CheckpointException.unreadable(path, failure);
    }
  }

  private static String where(JsonProcessingException failure) {
    String reason = IoErrors.reason(failure);
    String message = failure instanceof JsonMappingException ? reason : "not valid JSON: " + reason;
    return failure.getLocation() == null
        ? message
        : "line %d: %s".formatted(failure.getLocation().getLineNr(), message);
  }

  /** Writes a new file. */
  public static void write(Path path, Object value) throws IOException {
    Files.writeString(path, JSON.writeValueAsString(value) + "\n");
  }

  /** Reads a text. */
  public static <T> T parse(String text, Class<T> type) throws JsonProcessingException {
    return JSON.readValue(text, type);
  }
}
