package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.eellm.checkpoint.Mapped;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.golden.GoldenCase;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Model folders that are damaged, or made to do harm: each is refused in one line. */
final class HostileModelTest {
  private static final JsonMapper JSON = new JsonMapper();

  @TempDir private Path folder;
  private Path model;

  @BeforeEach
  void copyModel() throws IOException {
    model = folder.resolve("model");
    ModelReaderTest.copy(GoldenCase.named("llama_norm_tied").folder(), model);
  }

  private void assertRefused(String message) {
    assertThatThrownBy(() -> ModelReader.open(model).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n")
        .hasSizeLessThan(400);
    Mapped.assertNothingOf(folder);
  }

  @ParameterizedTest
  @ValueSource(doubles = {0, 0.001, 0.01, 0.5, 0.999999})
  void truncatedWeights_areRefused(double share) throws IOException {
    Path file = model.resolve("model.safetensors");
    byte[] whole = Files.readAllBytes(file);
    Files.write(file, Arrays.copyOf(whole, (int) (whole.length * share)));
    assertRefused("model.safetensors: ");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      textBlock =
          """
          {'num_hidden_layers':2147483647}     | num_layers: 2147483647 is outside 1..10000
          {'num_hidden_layers':9999}           | lack model.layers.4.input_layernorm.weight
          {'num_hidden_layers':5}              | lack model.layers.4.input_layernorm.weight
          {'num_hidden_layers':3}              | the weights have model.layers.3.
          {'hidden_size':128,'head_dim':16}    | has shape [256, 64], but [256, 128] follows
          {'vocab_size':2147483647}            | has shape [256, 64], but [2147483647, 64] follows
          {'intermediate_size':97}             | has shape
          {'early_exit':{'layers':[9],'norm':true,'mlp':false,'block':false,'tie_output':true}} | 9 is beyond the model's 4 layers
          {'early_exit':{'layers':[1],'norm':true,'mlp':false,'block':false,'tie_output':true}} | lack exits.1.norm.weight
          {'early_exit':{'layers':[2,3],'norm':true,'mlp':false,'block':false,'tie_output':false}} | lack exits.2.lm_head.weight
          {'early_exit':'x'}                   | early_exit: "x" is not an object
          {'model_type':'../../etc/passwd'}    | is not supported
          """)
  void configurationOfAnotherModel_isRefused(String changes, String message) throws IOException {
    Path file = model.resolve("config.json");
    ObjectNode config = (ObjectNode) JSON.readTree(file.toFile());
    config.setAll((ObjectNode) JSON.readTree(changes.replace('\'', '"')));
    Files.writeString(file, config.toString());
    assertRefused(message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      textBlock =
          """
          {"a":{"dtype":"F32","shape":[4],"data_offsets":[0,1000000000000]}}        | takes 16 bytes, but data_offsets [0, 1000000000000]
          {"a":{"dtype":"F32","shape":[250000000000],"data_offsets":[0,1000000000000]}} | beyond the file's 8 bytes
          {"a":{"dtype":"F32","shape":[9223372036854775807,9],"data_offsets":[0,8]}} | cannot be
          {"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}                   | whole numbers from 0
          {"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}                    | is not [begin, end]
          """)
  void tensorThatDoesNotFit_isRefused(String header, String message) throws IOException {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    ByteBuffer file = ByteBuffer.allocate(8 + json.length + 8).order(ByteOrder.LITTLE_ENDIAN);
    file.putLong(json.length).put(json);
    Files.write(model.resolve("model.safetensors"), file.array());
    assertRefused(message);
  }

  @Test
  void integerWeights_areRefused() throws IOException {
    Path file = model.resolve("model.safetensors");
    String text = Files.readString(file, StandardCharsets.ISO_8859_1);
    Files.writeString(
        file,
        text.replaceFirst("\"dtype\":\"F32\"", "\"dtype\":\"I32\""),
        StandardCharsets.ISO_8859_1);
    assertRefused("is I32; weights must be F64, F32, F16 or BF16");
  }

  @ParameterizedTest
  @ValueSource(strings = {"model.safetensors", "config.json"})
  void linkOutOfTheFolder_isRefused(String name) throws IOException {
    Path outside = Files.move(model.resolve(name), folder.resolve(name));
    Files.createSymbolicLink(model.resolve(name), outside);
    assertRefused("outside the model's folder");
  }

  @Test
  void tokenizerThatLeadsOutOfTheFolder_isNotCopied() throws IOException {
    Path secret = Files.writeString(folder.resolve("secret"), "{}");
    Files.createSymbolicLink(model.resolve("tokenizer.json"), secret);
    try (SourceModel source = ModelReader.open(model)) {
      assertThatThrownBy(
              () ->
                  ModelWriter.writeModel(
                      source,
                      folder.resolve("out"),
                      ModelWriter.Options.asItIs(),
                      (done, total) -> {}))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("tokenizer.json: leads to")
          .hasMessageContaining("outside the model's folder");
    }
    assertThat(folder.resolve("out")).doesNotExist();
  }

  /** Hugging Face's cache has links from snapshots/HASH/ to blobs/. */
  @Test
  void linksOfHuggingFacesCache_areFollowed() throws IOException {
    Path cache = folder.resolve("models--a--b");
    Path snapshot = Files.createDirectories(cache.resolve("snapshots/0123"));
    Path blobs = Files.createDirectories(cache.resolve("blobs"));
    for (String name : new String[] {"config.json", "model.safetensors"}) {
      Files.move(model.resolve(name), blobs.resolve("hash-of-" + name));
      Files.createSymbolicLink(snapshot.resolve(name), Path.of("../../blobs/hash-of-" + name));
    }
    try (SourceModel source = ModelReader.open(snapshot)) {
      assertThat(source.tensors()).hasSize(40);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "../model.safetensors,a plain name of a file",
    "/etc/passwd,a plain name of a file",
    "gone.safetensors,is missing",
  })
  void indexThatNamesOtherPlaces_isRefused(String shard, String message) throws IOException {
    Files.delete(model.resolve("model.safetensors"));
    for (String index : new String[] {WeightFiles.INDEX, PyTorchWeights.INDEX}) {
      Files.writeString(
          model.resolve(index), "{\"weight_map\":{\"model.norm.weight\":\"" + shard + "\"}}");
      assertRefused(message);
      Files.delete(model.resolve(index));
    }
  }

  @Test
  void exitsInTwoPlaces_areRefused() throws IOException {
    Files.writeString(
        model.resolve("exits.json"),
        "{\"layers\":[1],\"norm\":true,\"mlp\":false,\"block\":false,\"tie_output\":true}");
    assertRefused("early_exit is there though");
  }

  @Test
  void folderInPlaceOfAFile_isRefused() throws IOException {
    Files.delete(model.resolve("model.safetensors"));
    Files.createDirectory(model.resolve("model.safetensors"));
    assertRefused("is a folder");
  }
}
