package org.eellm.checkpoint.huggingface;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.Experts;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.NormPlacement;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.RopeScaling;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class HuggingFaceConfigTest {
  private static final JsonMapper JSON = new JsonMapper();

  private static final String LLAMA =
      """
      {"model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 172,
       "num_hidden_layers": 5, "num_attention_heads": 8, "max_position_embeddings": 128,
       "rms_norm_eps": 1e-6}
      """;

  @TempDir Path folder;

  @Test
  void read_requiredFieldsOnly_takesLlamasDefaults() throws IOException {
    assertThat(read("{}"))
        .isEqualTo(
            new HuggingFaceConfig(
                new Architecture(
                    ModelConfig.builder()
                        .vocabSize(512)
                        .hiddenSize(64)
                        .numLayers(5)
                        .numHeads(8)
                        .numKeyValueHeads(8)
                        .headDim(8)
                        .ffnHiddenSize(172)
                        .maxPositions(128)
                        .normEpsilon(1e-6)
                        .build(),
                    ExitLayout.none()),
                OptionalInt.empty(),
                List.of()));
  }

  @Test
  void read_allFieldsOfLlama_honoursThem() throws IOException {
    HuggingFaceConfig config =
        read(
            """
            {"architectures": ["LlamaForCausalLM"], "num_key_value_heads": 2, "head_dim": 16,
             "hidden_act": "silu", "rope_theta": 500000.0, "tie_word_embeddings": true,
             "attention_bias": true, "mlp_bias": true, "attention_dropout": 0.1,
             "initializer_range": 0.01, "torch_dtype": "bfloat16", "pretraining_tp": 4,
             "bos_token_id": 1, "eos_token_id": [2, 7], "pad_token_id": null, "use_cache": true,
             "rope_scaling": null, "sliding_window": null, "something_new": {"a": 1}}
            """);
    assertThat(config)
        .isEqualTo(
            new HuggingFaceConfig(
                new Architecture(
                    ModelConfig.builder()
                        .vocabSize(512)
                        .hiddenSize(64)
                        .numLayers(5)
                        .numHeads(8)
                        .numKeyValueHeads(2)
                        .headDim(16)
                        .ffnHiddenSize(172)
                        .maxPositions(128)
                        .normEpsilon(1e-6)
                        .ropeTheta(500_000)
                        .linearBias(true)
                        .tieEmbeddings(true)
                        .attentionDropout(0.1)
                        .initStd(0.01)
                        .dtype(DataType.BFLOAT16)
                        .build(),
                    ExitLayout.none()),
                OptionalInt.of(1),
                List.of(2, 7)));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "model_type",
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "rms_norm_eps"
      })
  void read_missingRequiredField_isNamed(String name) throws IOException {
    ObjectNode config = (ObjectNode) JSON.readTree(LLAMA);
    config.remove(name);
    Files.writeString(folder.resolve("config.json"), config.toString());
    assertThatThrownBy(() -> HuggingFaceConfig.read(folder))
        .isInstanceOf(CheckpointException.class)
        .hasMessageEndingWith("config.json: %s is missing; add it", name);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      textBlock =
          """
          {'model_type':'mamba'}                      | model_type: mamba is not supported; eellm, llama, mistral, qwen2, qwen3, qwen3_moe, smollm3, granite, gemma2, gemma3_text, olmo2, olmo3, olmoe, phi3, gpt2, gpt_neox are
          {'model_type':1}                            | model_type: 1 is not a text
          {'hidden_size':64.0}                        | hidden_size: 64.0 is not a whole number
          {'hidden_size':0}                           | hidden_size: 0 is not a whole number from 1
          {'hidden_size':4294967296}                  | hidden_size: 4294967296 is not a whole number from 1
          {'rms_norm_eps':'1e-5'}                     | rms_norm_eps: "1e-5" is not a finite number
          {'rope_theta':1e999}                        | rope_theta: "Infinity" is not a finite number
          {'rms_norm_eps':-1}                         | norm_epsilon: -1.0 is not positive
          {'tie_word_embeddings':1}                   | tie_word_embeddings: 1 is neither true nor false
          {'max_position_embeddings':300000000}       | max_position_embeddings: 300000000 is not a whole number from 1 to 16777216
          {'eos_token_id':100000000}                  | eos_token_id: 100000000 is beyond the vocabulary of
          {'eos_token_id':[2,100000000]}              | eos_token_id: 100000000 is beyond the vocabulary of
          {'bos_token_id':100000000}                  | bos_token_id: 100000000 is beyond the vocabulary of
          {'num_key_value_heads':3}                   | 3 does not divide num_heads 8
          {'num_attention_heads':7}                   | 7 does not divide hidden_size 64
          {'hidden_act':'gelu'}                       | hidden_act: "gelu" is not supported with model_type llama; "silu" is
          {'model_type':'eellm','hidden_act':'relu'}  | hidden_act: "relu" is not supported; silu, gelu, gelu_pytorch_tanh, geglu_tanh are
          {'normalization':'layernorm'}               | normalization: "layernorm" is not supported with model_type llama
          {'position_embedding':'learned'}            | position_embedding: "learned" is not supported with
          {'model_type':'eellm','position_embedding':'alibi'} | position_embedding: "alibi" is not supported; rope, learned are
          {'mlp_bias':true}                           | attention_bias false, mlp_bias true: biases on the MLP alone are not supported
          {'linear_bias':true}                        | linear_bias: true is not supported with model_type llama
          {'sliding_window':1}                        | sliding_window: 1 is not supported
          {'use_qk_norm':true}                        | use_qk_norm: true is not supported
          {'quantization_config':{'bits':4}}          | quantization_config: {"bits":4} is not supported
          {'partial_rotary_factor':0.5}               | partial_rotary_factor: 0.5 is not supported
          {'layer_types':['full_attention','sliding_attention']} | layer_types: "sliding_attention" is not supported
          {'model_type':'mistral','attention_bias':true} | attention_bias: true is not supported with model_type mistral
          {'model_type':'gemma2','head_dim':8,'hidden_activation':'gelu'} | hidden_activation: "gelu" is not supported with model_type gemma2; "gelu_pytorch_tanh" is
          {'model_type':'gemma2','head_dim':8,'use_bidirectional_attention':true} | use_bidirectional_attention: true is not supported
          {'model_type':'gemma2','head_dim':8,'layer_types':['full_attention']} | layer_types: 1 types are there for 5 layers
          {'model_type':'gemma2','head_dim':8,'layer_types':['chunked_attention']} | layer_types: "chunked_attention" is not supported
          {'model_type':'granite','logits_scaling':0} | logit_scale: Infinity is not
          {'model_type':'smollm3','use_sliding_window':true} | use_sliding_window: true is not supported with model_type smollm3
          {'model_type':'smollm3','no_rope_layers':[1,0]} | no_rope_layers: 2 numbers are there for 5 layers
          {'model_type':'phi3','lm_head_bias':true}   | lm_head_bias: true is not supported with model_type phi3
          {'model_type':'phi3','partial_rotary_factor':0.4} | rope rotates pairs; choose an even number
          {'model_type':'olmo3','num_experts':4}      | num_experts: 4 is not supported with model_type olmo3
          {'model_type':'olmoe','clip_qkv':8.0}       | clip_qkv: 8.0 is not supported with model_type olmoe
          {'model_type':'olmoe','num_experts_per_tok':65} | model.experts.per_token: 65 is not from 1 to model.experts.count 64
          {'model_type':'qwen3_moe','num_experts':2000000000} | 2000000000 experts in each of 5 layers are more than 131072 in all
          {'model_type':'qwen3_moe','mlp_only_layers':['1']} | mlp_only_layers: ["1"] is neither a whole number from 0
          {'model_type':'eellm','num_experts':2,'num_experts_per_tok':1,'moe_intermediate_size':8,'hidden_act':'gelu'} | experts are gated and have no biases
          {'model_type':'mistral','num_hidden_layers':2000000000} | num_hidden_layers: 2000000000 is not a whole number from 1 to 10000
          {'model_type':'smollm3','num_hidden_layers':2000000000} | num_hidden_layers: 2000000000 is not a whole number from 1 to 10000
          {'model_type':'eellm','layer_types':['some']} | layer_types: "some" is not supported; full, sliding, no_positions are
          {'max_positions':0}                         | max_positions: 0 is not a whole number from 1
          {'torch_dtype':'float8_e4m3fn'}             | torch_dtype: float8_e4m3fn is not supported
          {'eos_token_id':-1}                         | eos_token_id: -1 is neither
          {'eos_token_id':['2']}                      | eos_token_id: ["2"] is neither
          {'rope_scaling':'linear'}                   | rope_scaling: "linear" is not an object
          {'rope_scaling':{'rope_type':'yarn'}}       | rope_scaling: factor is missing
          {'rope_scaling':{'rope_type':'yarn','factor':4,'mscale':0.7}} | rope_scaling: mscale: 0.7 is not supported
          {'rope_scaling':{'rope_type':'longrope','short_factor':[1]}} | rope_scaling: long_factor is missing
          {'rope_scaling':{'rope_type':'longrope','short_factor':[1],'long_factor':[1]}} | model.rope_scaling.short_factors: 1 factors beside 4 rotated pairs
          {'rope_scaling':{'type':'dynamic','factor':4}} | rope_scaling: rope_type: dynamic is not supported
          {'rope_scaling':{'type':'linear'}}          | rope_scaling: factor is missing
          {'rope_scaling':{'type':'linear','factor':0.5}} | model.rope_scaling.factor: 0.5 is below 1
          {'rope_scaling':{'type':'linear','rope_type':'llama3','factor':2}} | rope_type llama3 and type linear disagree
          {'rope_scaling':{'type':'linear','factor':2,'attention_factor':0.3}} | attention_factor: 0.3 is not supported
          {'rope_scaling':{'type':'linear','factor':2},'rope_parameters':{'rope_type':'default'}} | rope_scaling and rope_parameters disagree
          {'rope_theta':1,'rope_parameters':{'rope_theta':2}} | rope_theta: 1.0 differs from rope_parameters.rope_theta 2.0
          {'early_exit':[2]}                          | early_exit: [2] is not an object
          {'early_exit':{'norm':true,'mlp':false,'block':false,'tie_output':false}} | early_exit: layers is missing
          {'early_exit':{'layers':[2],'norm':true,'mlp':false,'block':false}} | early_exit: tie_output is missing
          {'early_exit':{'layers':[2],'norm':true,'mlp':false,'block':false,'tie_output':false,'pre':true}} | early_exit: pre is unknown
          {'early_exit':{'layers':[6],'norm':true,'mlp':false,'block':false,'tie_output':false}} | 6 is beyond the model's 5 layers; use 1..5
          {'early_exit':{'layers':[2,2],'norm':true,'mlp':false,'block':false,'tie_output':false}} | [2, 2] is not strictly ascending
          """)
  void read_unsupportedValue_isRefusedByNameAndValue(String changes, String message) {
    assertThatThrownBy(() -> read(changes))
        .isInstanceOf(CheckpointException.class)
        .hasMessageStartingWith(folder.resolve("config.json") + ": ")
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
  }

  @Test
  void read_malformedJson_isRefusedWithTheLine() throws IOException {
    Files.writeString(folder.resolve("config.json"), "{\n\"a\": 1,\n}");
    assertThatThrownBy(() -> HuggingFaceConfig.read(folder))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("config.json: line 3: ");
  }

  @Test
  void read_noConfig_isRefused() {
    assertThatThrownBy(() -> HuggingFaceConfig.read(folder))
        .isInstanceOf(CheckpointException.class)
        .hasMessageEndingWith("config.json: cannot be read: no such file or folder");
  }

  @Test
  void read_linearScalingInEitherSpelling_isHonoured() throws IOException {
    RopeScaling linear = new RopeScaling.Linear(2);
    assertThat(scaling("{'rope_scaling':{'type':'linear','factor':2.0}}")).isEqualTo(linear);
    assertThat(scaling("{'rope_scaling':{'rope_type':'linear','factor':2}}")).isEqualTo(linear);
    assertThat(scaling("{'rope_parameters':{'rope_type':'linear','factor':2,'rope_theta':10000}}"))
        .isEqualTo(linear);
  }

  /** As DeepSeek's files have them, and transformers reads them of every family. */
  @ParameterizedTest
  @CsvSource({
    "1.0, 1.0, 1",
    "0.707, 1.0, 0.964326914892",
    "0, 1.0, 1.138629436112",
    "null, null, 1.138629436112"
  })
  void read_yarnWithTwoScales_hasTheirQuotient(String part, String all, double factor)
      throws IOException {
    RopeScaling scaling =
        scaling(
            "{'rope_scaling':{'rope_type':'yarn','factor':4,'mscale':%s,'mscale_all_dim':%s}}"
                .formatted(part, all));
    assertThat(scaling.attentionFactor()).isCloseTo(factor, within(1e-9));
  }

  @Test
  void read_llama3ScalingOfNewerConfigs_isHonouredWithItsTheta() throws IOException {
    ModelConfig model =
        read("""
        {'rope_parameters': {'rope_type': 'llama3', 'rope_theta': 500000.0, 'factor': 8.0,
         'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
         'original_max_position_embeddings': 8192}}
        """)
            .architecture()
            .model();
    assertThat(model.ropeScaling()).isEqualTo(new RopeScaling.Llama3(8, 1, 4, 8192));
    assertThat(model.ropeTheta()).isEqualTo(500_000);
  }

  @Test
  void read_sparseStepAndListedLayers_areDense() throws IOException {
    Experts experts =
        read("{'model_type':'qwen3_moe','decoder_sparse_step':2,'mlp_only_layers':[3,9]}")
            .architecture()
            .model()
            .experts();
    assertThat(experts).isEqualTo(new Experts(128, 8, 768, false, List.of(1, 3, 4, 5)));
  }

  @ParameterizedTest
  @CsvSource({"float32, FLOAT32", "float16, FLOAT32", "float64, FLOAT32", "bfloat16, BFLOAT16"})
  void read_dtypeInEitherSpelling_isHonoured(String name, DataType type) throws IOException {
    assertThat(read("{'torch_dtype':'" + name + "'}").architecture().model().dtype())
        .isEqualTo(type);
    assertThat(read("{'dtype':'" + name + "'}").architecture().model().dtype()).isEqualTo(type);
  }

  @Test
  void read_generationConfig_prevailsForTokenIds() throws IOException {
    Files.writeString(
        folder.resolve("generation_config.json"), "{\"eos_token_id\": [5, 6], \"top_p\": 0.9}");
    HuggingFaceConfig config = read("{'bos_token_id':1,'eos_token_id':2}");
    assertThat(config.bosTokenId()).hasValue(1);
    assertThat(config.eosTokenIds()).containsExactly(5, 6);
  }

  @ParameterizedTest
  @ValueSource(strings = {"RMSNORM", "LAYERNORM"})
  void write_anyArchitecture_isReadBackEqual(Normalization normalization) throws IOException {
    for (PositionEmbedding positions : PositionEmbedding.values()) {
      for (Activation activation : Activation.values()) {
        for (DataType type : DataType.values()) {
          for (RopeScaling scaling :
              List.of(
                  new RopeScaling.None(),
                  new RopeScaling.Linear(4),
                  new RopeScaling.Llama3(8, 1, 4, 8192))) {
            for (boolean bias : new boolean[] {true, false}) {
              HuggingFaceConfig config =
                  new HuggingFaceConfig(
                      new Architecture(
                          ModelConfig.builder()
                              .vocabSize(100)
                              .hiddenSize(32)
                              .numLayers(4)
                              .numHeads(4)
                              .numKeyValueHeads(2)
                              .headDim(6)
                              .ffnHiddenSize(50)
                              .maxPositions(77)
                              .normalization(normalization)
                              .residual(bias ? Residual.SEQUENTIAL : Residual.PARALLEL)
                              .positionEmbedding(positions)
                              .ropeTheta(12_345)
                              .ropeScaling(scaling)
                              .rotaryFraction(type == DataType.BFLOAT16 ? 0.34 : 1)
                              .activation(activation)
                              .linearBias(bias)
                              .qkvBias(!bias)
                              .qkNorm(scaling instanceof RopeScaling.None)
                              .tieEmbeddings(!bias)
                              .attentionDropout(0.25)
                              .initStd(0.015)
                              .dtype(type)
                              .build(),
                          new ExitLayout(List.of(1, 4), bias, !bias, true, false)),
                      OptionalInt.of(3),
                      bias ? List.of(1, 2) : List.of(4));
              config.write(folder);
              assertThat(HuggingFaceConfig.read(folder)).isEqualTo(config);
            }
          }
        }
      }
    }
  }

  /** Any combination of what tells models apart, also what no family has. */
  @Test
  void write_anyModel_readsBackTheSame() throws IOException {
    Random random = new Random(7);
    int written = 0;
    while (written < 400) {
      ModelConfig model;
      try {
        model = draw(random);
      } catch (ConfigException contradiction) {
        continue;
      }
      HuggingFaceConfig config =
          new HuggingFaceConfig(
              new Architecture(model, ExitLayout.none()), OptionalInt.empty(), List.of(1));
      config.write(folder);
      assertThat(HuggingFaceConfig.read(folder)).isEqualTo(config);
      written++;
    }
  }

  private static ModelConfig draw(Random random) {
    int heads = 1 << random.nextInt(3);
    int headDim = 4 * (1 + random.nextInt(3));
    double fraction = random.nextInt(3) == 0 ? 0.5 : 1;
    List<LayerType> types = new ArrayList<>();
    for (int i = 0; i <= random.nextInt(5); i++) {
      types.add(any(random, LayerType.values()));
    }
    boolean sliding = types.contains(LayerType.SLIDING);
    List<Double> factors = Collections.nCopies((int) (headDim * fraction) / 2, 1.5);
    return ModelConfig.builder()
        .vocabSize(10 + random.nextInt(90))
        .hiddenSize(8 * heads)
        .numLayers(1 + random.nextInt(6))
        .numHeads(heads)
        .numKeyValueHeads(random.nextBoolean() ? 1 : heads)
        .headDim(headDim)
        .ffnHiddenSize(1 + random.nextInt(50))
        .maxPositions(1 + random.nextInt(100))
        .normalization(any(random, Normalization.values()))
        .normEpsilon(random.nextDouble())
        .normPlacement(any(random, NormPlacement.values()))
        .zeroCenteredNorm(random.nextBoolean())
        .residual(any(random, Residual.values()))
        .positionEmbedding(any(random, PositionEmbedding.values()))
        .ropeTheta(1 + 1e5 * random.nextDouble())
        .ropeScaling(
            switch (random.nextInt(5)) {
              case 0 -> new RopeScaling.None();
              case 1 -> new RopeScaling.Linear(1 + random.nextDouble());
              case 2 -> new RopeScaling.Llama3(2, random.nextDouble(), 1.5, 12);
              case 3 ->
                  new RopeScaling.Yarn(
                      1 + random.nextDouble(),
                      1 + random.nextInt(50),
                      random.nextInt(20, 30),
                      random.nextInt(1, 9),
                      random.nextInt(2) * random.nextDouble(),
                      random.nextBoolean());
              default ->
                  new RopeScaling.LongRope(
                      factors, factors, 1 + random.nextInt(100), 1 + random.nextDouble());
            })
        .rotaryFraction(fraction)
        .layerTypes(types)
        .slidingWindow(sliding ? 1 + random.nextInt(120) : 0)
        .slidingRopeTheta(sliding && random.nextBoolean() ? 1 + random.nextDouble() : 0)
        .activation(any(random, Activation.values()))
        .experts(experts(random))
        .linearBias(random.nextBoolean())
        .qkvBias(random.nextBoolean())
        .attentionBias(random.nextBoolean())
        .qkNorm(random.nextBoolean())
        .qkNormWhole(random.nextBoolean())
        .attentionScale(random.nextInt(2) * random.nextDouble())
        .attentionSoftcap(random.nextInt(2) * random.nextDouble())
        .logitSoftcap(random.nextInt(2) * random.nextDouble())
        .embeddingScale(random.nextBoolean() ? 1 : random.nextDouble())
        .residualScale(random.nextBoolean() ? 1 : random.nextDouble())
        .logitScale(random.nextBoolean() ? 1 : random.nextDouble())
        .tieEmbeddings(random.nextBoolean())
        .attentionDropout(random.nextDouble())
        .initStd(random.nextDouble())
        .dtype(any(random, DataType.values()))
        .build();
  }

  private static Experts experts(Random random) {
    return random.nextBoolean()
        ? Experts.none()
        : new Experts(
            3 + random.nextInt(3),
            1 + random.nextInt(3),
            1 + random.nextInt(50),
            random.nextBoolean(),
            random.nextBoolean() ? List.of() : List.of(1));
  }

  private static <E> E any(Random random, E[] values) {
    return values[random.nextInt(values.length)];
  }

  @Test
  void write_llama_saysOnlyWhatLlamaToolsKnow() throws IOException {
    read("{'attention_bias':true,'mlp_bias':true,'eos_token_id':2}").write(folder);
    JsonNode config = JSON.readTree(folder.resolve("config.json").toFile());
    assertThat(config.path("architectures").path(0).asText()).isEqualTo("LlamaForCausalLM");
    assertThat(config.path("model_type").asText()).isEqualTo("llama");
    assertThat(config.path("attention_bias").asBoolean()).isTrue();
    assertThat(config.path("eos_token_id").isInt()).isTrue();
    assertThat(config.properties())
        .extracting(java.util.Map.Entry::getKey)
        .doesNotContain("early_exit", "normalization", "position_embedding", "linear_bias");
    assertThat(JSON.readTree(folder.resolve("generation_config.json").toFile()).toString())
        .isEqualTo("{\"eos_token_id\":2}");
  }

  @ParameterizedTest
  @MethodSource("org.eellm.golden.Stories#all")
  void read_trainedModel_givesItsArchitecture(Path stories) {
    HuggingFaceConfig config = HuggingFaceConfig.read(stories);
    assertThat(config.architecture().model().numKeyValueHeads()).isEqualTo(4);
    assertThat(config.architecture().model().tieEmbeddings()).isTrue();
    assertThat(config.architecture().exits()).isEqualTo(ExitLayout.none());
    assertThat(config.eosTokenIds()).containsExactly(2);
  }

  private RopeScaling scaling(String changes) throws IOException {
    return read(changes).architecture().model().ropeScaling();
  }

  /** Reads the small Llama with changed fields; apostrophes stand for quotation marks. */
  private HuggingFaceConfig read(String changes) throws IOException {
    ObjectNode config = (ObjectNode) JSON.readTree(LLAMA);
    config.setAll((ObjectNode) JSON.readTree(changes.replace('\'', '"')));
    Files.writeString(folder.resolve("config.json"), config.toString());
    return HuggingFaceConfig.read(folder);
  }
}
