package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class DraftVocabularyTest {
  @TempDir private Path folder;

  @Test
  void count_texts_takesTheMostFrequentThenTheFirst() {
    List<List<Integer>> texts = List.of(List.of(7, 3, 7), List.of(7, 3, 5));

    assertThat(DraftVocabulary.count(texts, 2, 10).ids()).containsExactly(3, 7);
    assertThat(DraftVocabulary.count(texts, 5, 10).ids()).containsExactly(0, 1, 3, 5, 7);
    assertThatThrownBy(() -> DraftVocabulary.count(texts, 11, 10))
        .hasMessage("a draft vocabulary of 11 ids: the model has 10; use 1 to 10");
  }

  @Test
  void read_whatWasWritten_isTheSame() throws IOException {
    DraftVocabulary written = new DraftVocabulary(List.of(1, 4, 9));
    written.write(folder);

    assertThat(DraftVocabulary.read(folder, 10)).isEqualTo(written);
    assertThatThrownBy(() -> DraftVocabulary.read(folder, 9))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("draft_vocabulary.json: ids have to ascend within 0..8");
  }

  @Test
  void read_folderWithoutOne_hasNoIds() {
    assertThat(DraftVocabulary.read(folder, 10).ids()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"{\"ids\":[2,1]}", "{\"ids\":[-1]}", "{\"ids\":[1,1]}", "{\"ids\":3}", "["})
  void read_damagedFile_isRefusedInALine(String text) throws IOException {
    Files.writeString(folder.resolve("draft_vocabulary.json"), text);

    assertThatThrownBy(() -> DraftVocabulary.read(folder, 10))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("draft_vocabulary.json")
        .message()
        .doesNotContain("\n");
  }
}
