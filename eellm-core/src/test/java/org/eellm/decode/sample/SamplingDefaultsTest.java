package org.eellm.decode.sample;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eellm.config.ConfigException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.slf4j.LoggerFactory;

final class SamplingDefaultsTest {
  @TempDir private Path folder;

  private SamplingDefaults read(String content) throws IOException {
    Files.writeString(folder.resolve("generation_config.json"), content.replace('\'', '"'));
    return SamplingDefaults.read(folder);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          {'do_sample': true, 'temperature': 0.6, 'top_p': 0.95, 'top_k': 20} | temperature 0.6, top-k 20, top-p 0.95
          {'temperature': 0.7, 'min_p': 0.05, 'repetition_penalty': 1.1}      | temperature 0.7, min-p 0.05, repetition-penalty 1.1
          {'do_sample': false, 'temperature': 0.6, 'top_p': 0.9}              | temperature 0, top-p 0.9
          {'do_sample': true, 'top_k': 50.0}                                  | temperature 1, top-k 50
          {'do_sample': true, 'top_k': -1}                                    | temperature 1, top-k 0
          {'eos_token_id': [1, 2], 'temperature': null}                       |
          """)
  void read_generationConfig_hasItsValues(String content, String description) throws IOException {
    assertThat(read(content).description().orElse(null)).isEqualTo(description);
  }

  @Test
  void over_otherValues_replacesThoseThatTheFileHas() throws IOException {
    assertThat(SamplingDefaults.read(folder).over(SamplingParams.GREEDY))
        .isEqualTo(SamplingParams.GREEDY);
    assertThat(
            read("{'temperature': 0.5, 'top_k': 3}")
                .over(SamplingParams.GREEDY.with(SamplingSetting.MIN_P, 0.1)))
        .isEqualTo(
            SamplingParams.AS_PREDICTED
                .with(SamplingSetting.TEMPERATURE, 0.5)
                .with(SamplingSetting.TOP_K, 3)
                .with(SamplingSetting.MIN_P, 0.1));
  }

  /** What is left as it is goes without a word. */
  @Test
  void read_fieldsThatAreNotOffered_areWarnedOfByName() throws IOException {
    assertThat(
            warnings(
                "{'no_repeat_ngram_size': 0, 'typical_p': 1.0, 'num_beams': 1, 'guidance_scale':"
                    + " null, 'bad_words_ids': [], 'token_healing': false, 'max_length': 20}"))
        .isEmpty();
    assertThat(
            warnings(
                "{'no_repeat_ngram_size': 1, 'typical_p': 0, 'min_new_tokens': 5, 'num_beams': 4,"
                    + " 'forced_eos_token_id': 0, 'stop_strings': 'x', 'sequence_bias': [[[1],"
                    + " 2]]}"))
        .extracting(line -> line.substring(line.indexOf(".json: ") + 7))
        .containsExactlyInAnyOrder(
            "no_repeat_ngram_size: 1 is not supported and has no effect",
            "typical_p: 0 is not supported and has no effect",
            "min_new_tokens: 5 is not supported and has no effect",
            "num_beams: 4 is not supported and has no effect",
            "forced_eos_token_id: 0 is not supported and has no effect",
            "stop_strings: \"x\" is not supported and has no effect",
            "sequence_bias: [[[1],2]] is not supported and has no effect");
  }

  private List<String> warnings(String content) throws IOException {
    Logger log = (Logger) LoggerFactory.getLogger(SamplingDefaults.class);
    ListAppender<ILoggingEvent> lines = new ListAppender<>();
    lines.start();
    log.addAppender(lines);
    try {
      read(content);
      return lines.list.stream().map(ILoggingEvent::getFormattedMessage).toList();
    } finally {
      log.detachAppender(lines);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          {'temperature': -1}        | generation_config.json: temperature: -1.0 is negative
          {'top_p': 0}               | generation_config.json: top_p: 0.0 is outside (0, 1]
          {'top_k': 2.5}             | generation_config.json: top_k: 2.5 is no whole number
          {'top_p': 'much'}          | generation_config.json: top_p: "much" is no number
          {'repetition_penalty': 0}  | generation_config.json: repetition_penalty: 0.0 is no number from
          """)
  void read_valuesThatMeanNothing_areRefused(String content, String message) {
    assertThatThrownBy(() -> read(content))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith(folder.toString())
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }
}
