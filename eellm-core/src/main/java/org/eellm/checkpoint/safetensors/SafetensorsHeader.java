package org.eellm.checkpoint.safetensors;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.eellm.file.IoErrors;
import org.eellm.file.Shown;

/**
 * The JSON in front of a safetensors file's data: what tensors there are and where they lie.
 *
 * <p>The rules are the format's own: the tensors cover the data without holes and without overlap,
 * every size follows from type and shape, no name comes twice.
 *
 * @param metadata the texts under {@code __metadata__}
 * @param tensors in the order of their data
 */
public record SafetensorsHeader(Map<String, String> metadata, List<Entry> tensors) {
  /** The longest header that the format's own library reads. */
  static final long MAX_BYTES = 100_000_000;

  static final String METADATA = "__metadata__";

  private static final ObjectMapper JSON =
      JsonMapper.builder(JsonFiles.BOUNDED)
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private static final Set<String> ENTRY_KEYS = Set.of("dtype", "shape", "data_offsets");

  /** One tensor; {@code begin} and {@code end} are byte offsets into the data behind the header. */
  public record Entry(String name, SafetensorsType type, List<Long> shape, long begin, long end) {}

  /**
   * Reads a header.
   *
   * @param bytes the header's JSON
   * @param dataSize bytes in the file behind the header
   * @throws CheckpointException if a rule of the format is broken; the message does not name the
   *     file
   */
  public static SafetensorsHeader parse(ByteBuffer bytes, long dataSize) {
    JsonNode root;
    try {
      // Decoded here because the JSON parser would also take UTF-16 and overlong forms.
      root = JSON.readTree(StandardCharsets.UTF_8.newDecoder().decode(bytes).toString());
    } catch (CharacterCodingException failure) {
      throw new CheckpointException("the header is not UTF-8", failure);
    } catch (JsonProcessingException failure) {
      throw new CheckpointException(
          "the header is not valid JSON: " + IoErrors.reason(failure), failure);
    }
    if (!(root instanceof ObjectNode object)) {
      throw new CheckpointException("the header is not a JSON object");
    }
    Map<String, String> metadata = new LinkedHashMap<>();
    List<Entry> tensors = new ArrayList<>();
    for (Map.Entry<String, JsonNode> field : object.properties()) {
      if (field.getKey().equals(METADATA)) {
        metadata = metadata(field.getValue());
      } else {
        tensors.add(entry(field.getKey(), field.getValue()));
      }
    }
    tensors.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
    checkCover(tensors, dataSize);
    return new SafetensorsHeader(metadata, tensors);
  }

  private static Map<String, String> metadata(JsonNode node) {
    if (!node.isObject()) {
      throw new CheckpointException(METADATA + " is not a JSON object");
    }
    Map<String, String> metadata = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> field : node.properties()) {
      if (!field.getValue().isTextual()) {
        throw new CheckpointException(
            "%s: %s is not a text".formatted(METADATA, quoted(field.getKey())));
      }
      metadata.put(field.getKey(), field.getValue().textValue());
    }
    return metadata;
  }

  private static Entry entry(String name, JsonNode node) {
    String what = "tensor " + quoted(name);
    if (!node.isObject()) {
      throw new CheckpointException(what + " is not described by a JSON object");
    }
    for (Map.Entry<String, JsonNode> field : node.properties()) {
      if (!ENTRY_KEYS.contains(field.getKey())) {
        throw new CheckpointException(
            "%s has the unknown key %s; the format knows dtype, shape, data_offsets"
                .formatted(what, quoted(field.getKey())));
      }
    }
    JsonNode dtype = node.path("dtype");
    SafetensorsType type =
        SafetensorsType.named(dtype.asText())
            .orElseThrow(
                () ->
                    new CheckpointException(
                        "%s has the unknown dtype %s; known are %s"
                            .formatted(what, quoted(dtype.asText()), SafetensorsType.known())));
    List<Long> shape = wholeNumbers(node.path("shape"), what + ": shape");
    List<Long> offsets = wholeNumbers(node.path("data_offsets"), what + ": data_offsets");
    if (offsets.size() != 2 || offsets.get(0) > offsets.get(1)) {
      throw new CheckpointException(
          "%s: data_offsets %s is not [begin, end]".formatted(what, offsets));
    }
    Entry entry = new Entry(name, type, shape, offsets.get(0), offsets.get(1));
    long size;
    try {
      size = type.byteSize(shape);
    } catch (ArithmeticException failure) {
      throw new CheckpointException(
          "%s: the size of shape %s in %s cannot be: %s"
              .formatted(what, shape, type, failure.getMessage()),
          failure);
    }
    if (size != entry.end - entry.begin) {
      throw new CheckpointException(
          "%s: shape %s in %s takes %d bytes, but data_offsets %s hold %d"
              .formatted(what, shape, type, size, offsets, entry.end - entry.begin));
    }
    return entry;
  }

  private static List<Long> wholeNumbers(JsonNode node, String what) {
    if (!node.isArray()) {
      throw new CheckpointException(what + " is not a list of whole numbers");
    }
    List<Long> numbers = new ArrayList<>(node.size());
    for (JsonNode element : node) {
      if (!element.isIntegralNumber() || !element.canConvertToLong() || element.longValue() < 0) {
        throw new CheckpointException(
            "%s holds %s; whole numbers from 0 to 2^63-1 are allowed"
                .formatted(what, Shown.of(element)));
      }
      numbers.add(element.longValue());
    }
    return List.copyOf(numbers);
  }

  private static void checkCover(List<Entry> tensors, long dataSize) {
    long covered = 0;
    for (Entry entry : tensors) {
      String what =
          "tensor %s: data_offsets [%d, %d]".formatted(quoted(entry.name), entry.begin, entry.end);
      if (entry.end > dataSize) {
        throw new CheckpointException(
            "%s end beyond the file's %d bytes of data; the file is truncated"
                .formatted(what, dataSize));
      }
      if (entry.begin < covered) {
        throw new CheckpointException(
            "%s overlap the tensor before, which ends at %d".formatted(what, covered));
      }
      if (entry.begin > covered) {
        throw new CheckpointException(
            "%s leave a hole behind the tensor before, which ends at %d".formatted(what, covered));
      }
      covered = entry.end;
    }
    if (covered != dataSize) {
      throw new CheckpointException(
          "%d bytes follow the last tensor, which ends at %d"
              .formatted(dataSize - covered, covered));
    }
  }

  /** The header's JSON as the format's own library writes it, padded so that data is aligned. */
  public static byte[] format(Map<String, String> metadata, List<Entry> tensors) {
    ObjectNode root = JSON.createObjectNode();
    if (!metadata.isEmpty()) {
      ObjectNode texts = root.putObject(METADATA);
      metadata.forEach(texts::put);
    }
    for (Entry entry : tensors) {
      ObjectNode node = root.putObject(entry.name);
      node.put("dtype", entry.type.name());
      entry.shape.forEach(node.putArray("shape")::add);
      node.putArray("data_offsets").add(entry.begin).add(entry.end);
    }
    String json = root.toString();
    int length = json.getBytes(StandardCharsets.UTF_8).length;
    return (json + " ".repeat(-length & 7)).getBytes(StandardCharsets.UTF_8);
  }

  private static String quoted(String text) {
    return "'" + Shown.of(text) + "'";
  }
}
