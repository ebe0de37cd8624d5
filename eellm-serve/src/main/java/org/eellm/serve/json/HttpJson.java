package org.eellm.serve.json;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import com.fasterxml.jackson.core.io.JsonEOFException;
import com.fasterxml.jackson.core.util.JsonParserDelegate;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import org.jspecify.annotations.Nullable;

/** JSON as the server reads and writes it: bodies are UTF-8, one object, each key once. */
public final class HttpJson {
  /** Fields of a body, in all its objects: a field costs far more time than its bytes do. */
  static final int MAX_FIELDS = 32_768;

  private static final JsonMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .disable(JsonFactory.Feature.INTERN_FIELD_NAMES) // clients choose them
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private HttpJson() {}

  public static ObjectNode object() {
    return MAPPER.createObjectNode();
  }

  /**
   * Reads a request's body.
   *
   * @throws ApiException if it is no JSON object, or has too many fields
   */
  public static ObjectNode read(byte[] body) {
    JsonNode root;
    try (JsonParser parser = new CountingParser(MAPPER.createParser(body))) {
      root = MAPPER.readTree(parser);
    } catch (JsonProcessingException e) {
      JsonLocation place = e.getLocation();
      String where =
          place == null
              ? ""
              : " (line %d, column %d)".formatted(place.getLineNr(), place.getColumnNr());
      throw ApiException.refused(
          400,
          "invalid_json",
          "the body %s%s; send one object, as in {\"prompt\": \"Hello\"}"
              .formatted(problem(e), where));
    } catch (IOException e) { // malformed UTF-8
      throw ApiException.refused(
          400, "invalid_json", "the body is no UTF-8 text; send JSON in UTF-8");
    }
    if (root instanceof ObjectNode object) {
      return object;
    }
    throw ApiException.refused(
        400, "invalid_json", "the body is no JSON object; send one, as in {\"prompt\": \"Hello\"}");
  }

  /** Refuses a body while it is read. */
  private static final class CountingParser extends JsonParserDelegate {
    private int fields;

    CountingParser(JsonParser parser) {
      super(parser);
    }

    @Override
    public @Nullable JsonToken nextToken() throws IOException {
      JsonToken token = super.nextToken();
      if (token == JsonToken.FIELD_NAME && ++fields > MAX_FIELDS) {
        throw ApiException.refused(
            400,
            "too_many_fields",
            "the body has more than %d fields; send less at once".formatted(MAX_FIELDS));
      }
      return token;
    }
  }

  private static String problem(JsonProcessingException e) {
    if (e instanceof JsonEOFException) {
      return "is JSON that ends too early";
    }
    if (e instanceof StreamConstraintsException) {
      return "is nested too deep, or has too long a name or number";
    }
    if (e.getOriginalMessage().startsWith("Duplicate field")) {
      return "has a key twice";
    }
    return e instanceof MismatchedInputException ? "has more than one value" : "is no JSON";
  }

  public static byte[] bytes(JsonNode node) {
    try {
      return MAPPER.writeValueAsBytes(node);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree cannot be written as JSON", e);
    }
  }

  /** An error in OpenAI's shape. */
  public static ObjectNode error(ApiException e) {
    ObjectNode root = object();
    ObjectNode error = root.putObject("error");
    error.put("message", e.getMessage());
    error.put("type", e.type());
    e.param().ifPresentOrElse(param -> error.put("param", param), () -> error.putNull("param"));
    e.code().ifPresentOrElse(code -> error.put("code", code), () -> error.putNull("code"));
    return root;
  }
}
