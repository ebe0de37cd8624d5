package org.eellm.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.EOFException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class JsonErrorsTest {
  private static final JsonMapper STRICT =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .build();

  private record Size(int width, int height) {}

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      textBlock =
          """
          {"width": 1             | it ends too early
          {"width": 1, "height": 2} {} | something follows its one value
          {"a": 1, "a": 2}        | the key 'a' is there twice
          {"width": NaN}          | 'NaN' is no value of JSON
          {"width": nope}         | 'nope' is no value of JSON
          {"width": +Infinity}    | is no value of JSON
          {"width": 01}           | a number is not written as in JSON
          {width: 1}              | the character 'w' is not expected
          {"a": "\\x"}            | a text has a backslash before a character that needs none
          {"width": 1]            | a bracket is closed by one of another kind
          {"width": 1}            | the key 'height' is missing
          {"width": 1, "height": 2, "depth": 3} | the key 'depth' is unknown
          {"width": "a", "height": 2} | the value of 'width' is of another kind than it has to be
          {"width": null, "height": 2} | the value of 'width' is of another kind than it has to be
          [1, 2]                  | it is of another form than such a file has
          """)
  void reason_isInOurWords(String text, String reason) {
    JsonProcessingException failure =
        catchThrowableOfType(
            JsonProcessingException.class, () -> STRICT.readValue(text, Size.class));
    assertThat(JsonErrors.reason(failure)).contains(reason);
    assertThat(JsonErrors.reason(failure)).doesNotContain("Feature", "org.eellm", "`", "token");
  }

  @Test
  void reason_ofAFileThatEndsTooEarly_isNoNameOfAClass() {
    assertThat(IoErrors.reason(new EOFException())).isEqualTo("ends too early");
  }
}
