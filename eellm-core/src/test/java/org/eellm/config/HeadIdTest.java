package org.eellm.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HeadIdTest {

  @ParameterizedTest
  @ValueSource(strings = {"exit_1", "exit_10", "final"})
  void parse_aName_givesTheHeadOfThatName(String name) {
    assertThat(HeadId.parse(name)).hasToString(name);
  }

  @ParameterizedTest
  @ValueSource(strings = {"exit_0", "exit_06", "exit_", "exit 6", "exit_x", "Final", ""})
  void parse_anotherName_saysWhatNamesThereAre(String name) {
    assertThatThrownBy(() -> HeadId.parse(name))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "'%s' names no head; use final, or exit_6 for the exit after layer 6".formatted(name));
  }

  @Test
  void all_ofAModel_isByDepth() {
    assertThat(HeadId.all(List.of(2, 10)))
        .containsExactly(HeadId.exit(2), HeadId.exit(10), HeadId.FINAL);
    assertThat(new TreeSet<>(List.of(HeadId.FINAL, HeadId.exit(10), HeadId.exit(2))))
        .containsExactly(HeadId.exit(2), HeadId.exit(10), HeadId.FINAL);
    assertThat(HeadId.all(List.of(2))).extracting(HeadId::label).containsExactly("exit 2", "final");
  }

  @Test
  void json_keyOrValue_isTheNameAndComesBack() throws JsonProcessingException {
    Map<HeadId, List<HeadId>> heads = Map.of(HeadId.exit(2), List.of(HeadId.FINAL));
    ObjectMapper mapper = new ObjectMapper();

    String json = mapper.writeValueAsString(heads);

    assertThat(json).isEqualTo("{\"exit_2\":[\"final\"]}");
    assertThat(mapper.readValue(json, new TypeReference<Map<HeadId, List<HeadId>>>() {}))
        .isEqualTo(heads);
  }
}
