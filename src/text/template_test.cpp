#include "text/template.h"

#include <gtest/gtest.h>

#include <ctime>
#include <random>
#include <string>
#include <vector>

namespace aegis::text {
namespace {

constexpr const char* kContext = R"({
  "instruction": "Do it.", "input": "in", "previous_error": "", "iteration_number": 2,
  "name": "Ann", "yes": true, "no": false, "zero": 0, "nil": null, "empty": "", "list": ["a", "b", "c"],
  "nolist": [], "noobject": {}, "object": {"k1": 1, "k2": "two"}, "pi": 3.14, "big": 1e300, "whole": 4.0,
  "users": [{"n": "x", "tags": ["t1", "t2"]}, {"n": "y", "tags": []}],
  "deep": {"a": {"b-c": [10, {"d": "e"}]}},
  "braces": "{{name}} {% if x %} {# c #} \\{{", "html": "<a href=\"x\">&'</a>", "agent": {"name": "bot"},
  "unicode": {"\u00e9": "accent"}, "key with space": 5})";

std::string render(std::string_view text) {
    auto parsed = Template::parse(text);
    if (!parsed) return "PARSE: " + parsed.error().message;
    auto out = parsed->render(json::parse(kContext).value().as_object());
    return out ? *out : "RENDER: " + out.error().message;
}

struct Pair {
    const char* text;
    const char* expected;
};

void check(std::initializer_list<Pair> pairs) {
    for (const Pair& p : pairs)
        EXPECT_EQ(render(p.text), p.expected) << p.text;
}

TEST(Template, InsertsValues) {
    check({{"", ""},
           {"plain { } }} %} #} text\n", "plain { } }} %} #} text\n"},
           {"{{name}}", "Ann"},
           {"{{{name}}}", "Ann"},
           {"{ {{name}} }", "{ Ann }"},
           {"{{ name }}!{{\tname\n}}", "Ann!Ann"},
           {"{{&name}}", "Ann"},
           {"{{missing}}|{{missing.x.y}}|{{name.x}}|{{nil}}|{{nil.x}}", "||||"},
           {"{{yes}} {{no}} {{zero}} {{pi}} {{big}} {{whole}}", "true false 0 3.14 1e+300 4"},
           {"{{list}} {{object}}", R"(["a","b","c"] {"k1":1,"k2":"two"})"},
           {"{{deep.a.b-c}} {{deep.a.b-c.0}} {{deep.a.b-c.1.d}}", R"([10,{"d":"e"}] 10 e)"},
           {"{{list.1}}{{list[2]}}{{list.[0]}}{{list.9}}{{list.x}}", "bca"},
           {"{{object['k2']}} {{object[\"k1\"]}} {{object.[k2]}} {{list.length}}", "two 1 two 3"},
           {"{{unicode.\xc3\xa9}}", "accent"},
           {"{{html}}{{{html}}}", "<a href=\"x\">&'</a><a href=\"x\">&'</a>"},
           {"{{agent.name}}", "bot"},
           {"{{this.name}} {{@root.name}} {{../name}} {{./name}}", "Ann Ann Ann Ann"}});
}

TEST(Template, NeverParsesValuesAgain) {
    EXPECT_EQ(render("{{braces}}"), "{{name}} {% if x %} {# c #} \\{{");
    EXPECT_EQ(render("{{#if braces}}{{braces}}{{/if}}"), "{{name}} {% if x %} {# c #} \\{{");
}

TEST(Template, LiteralBraces) {
    check({{"\\{{name}}", "{{name}}"},
           {"a \\{{name}} b {{name}}", "a {{name}} b Ann"},
           {"\\\\{{name}}", "\\Ann"},
           {"\\\\\\{{name}}", "\\\\Ann"},
           {"\\{% if x %}", "{% if x %}"},
           {"\\{# no comment #}", "{# no comment #}"},
           {"\\n \\ {{name}}\\", "\\n \\ Ann\\"},
           {"  \\{{#if x}}\n", "  {{#if x}}\n"}});
}

TEST(Template, Comments) {
    check({{"a{{! x }}b", "ab"},
           {"a{{!-- {{x}} }} --}}b", "ab"},
           {"a{{!---}}b--}}c", "ac"},
           {"a{# {{x}} {% bad #}b", "ab"},
           {"a\n{{! alone }}\nb", "a\nb"},
           {"a\n  {# alone #}  \nb", "a\nb"},
           {"a\n{{! two\nlines }}\nb", "a\nb"},
           {"a {{! it's }} b", "a  b"},
           {"a {{~! x ~}} b", "ab"},
           {"a {{~!-- x --~}} b", "ab"},
           {"a {#- x -#} b", "ab"}});
}

TEST(Template, HandlebarsBlocks) {
    check(
        {{"{{#if yes}}A{{/if}}", "A"},
         {"{{#if no}}A{{else}}B{{/if}}", "B"},
         {"{{#if no}}A{{else if yes}}B{{else}}C{{/if}}", "B"},
         {"{{#if no}}A{{else if zero}}B{{else if name}}D{{/if}}", "D"},
         {"{{#if no}}A{{^}}B{{/if}}", "B"},
         {"{{#unless no}}A{{else}}B{{/unless}}", "A"},
         {"{{#unless name}}A{{else}}B{{/unless}}", "B"},
         {"{{#each list}}{{this}},{{/each}}", "a,b,c,"},
         {"{{#each list}}{{.}}{{#unless @last}}-{{/unless}}{{/each}}", "a-b-c"},
         {"{{#each list}}{{@index}}{{@first}}{{@last}} {{/each}}",
          "0truefalse 1falsefalse 2falsetrue "},
         {"{{#each object}}{{@key}}={{this}};{{/each}}", "k1=1;k2=two;"},
         {"{{#each nolist}}x{{else}}nothing{{/each}}", "nothing"},
         {"{{#each missing}}x{{else}}nothing{{/each}}{{#each name}}x{{/each}}", "nothing"},
         {"{{#each users}}{{n}}:{{#each tags}}{{this}}/{{../n}}/{{name}} {{/each}};{{/each}}",
          "x:t1/x/Ann t2/x/Ann ;y:;"},
         {"{{#each users}}{{this.n}}{{#if tags}}+{{/if}}{{this.tags.length}}{{/each}}", "x+2y0"}});
}

TEST(Template, JinjaBlocks) {
    check({{"{% if yes %}A{% endif %}", "A"},
           {"{% if no %}A{% elif zero %}B{% elif name %}C{% else %}D{% endif %}", "C"},
           {"{% if not no %}A{% endif %}", "A"},
           {"{% if not not yes %}A{% endif %}", "A"},
           {"{% if yes and no or name %}A{% endif %}", "A"},
           {"{% if yes and (no or zero) %}A{% else %}B{% endif %}", "B"},
           {"{% if not (yes and no) %}A{% endif %}", "A"},
           {"{% if not yes == no %}A{% endif %}", "A"},
           {"{% if iteration_number > 1 %}again{% endif %}", "again"},
           {"{% if iteration_number >= 2 and iteration_number <= 2 %}A{% endif %}", "A"},
           {"{% if iteration_number < 2 or iteration_number != 2 %}A{% else %}B{% endif %}", "B"},
           {"{% if name == 'Ann' %}A{% endif %}{% if name == \"Bob\" %}B{% endif %}", "A"},
           {"{% if name < 'Bob' %}A{% endif %}", "A"},
           {"{% if name < 3 or name > 3 or name == 3 %}A{% else %}B{% endif %}", "B"},
           {"{% if whole == 4 and pi > 3 and pi < 3.15 and zero > -1 %}A{% endif %}", "A"},
           {"{% if missing == none and nil == null and nil == none %}A{% endif %}", "A"},
           {"{% if list == list and list != object %}A{% endif %}", "A"},
           {"{% if '%}' == \"%}\" %}A{% endif %}", "A"},
           {"{% if true and True %}A{% endif %}{% if false or False or none %}B{% endif %}", "A"},
           {"{% for v in list %}{{v}}{% endfor %}{{v}}", "abc"},
           {"{% for v in list %}{{loop.index}}{{loop.index0}}{{loop.first}}{{loop.last}} {% endfor "
            "%}",
            "10truefalse 21falsefalse 32falsetrue "},
           {"{% for k in object %}{{k}} {% endfor %}", "k1 k2 "},
           {"{% for u in users %}{{u.n}}{% for t in u.tags %}{{t}}{{loop.index}}{{u.n}}{% endfor "
            "%}{% "
            "endfor %}",
            "xt11xt22xy"},
           {"{% for v in nolist %}x{% else %}nothing{% endfor %}", "nothing"},
           {"{% if name %}{{#if yes}}{% for v in list %}{{#each list}}{{this}}{{v}}{{/each}}{% "
            "endfor "
            "%}{{/if}}{% endif %}",
            "aabacaabbbcbacbccc"}});
}

TEST(Template, WhatIsFalse) {
    for (std::string name :
         {"missing", "nil", "no", "zero", "empty", "nolist", "noobject", "missing.x"}) {
        EXPECT_EQ(render("{{#if " + name + "}}A{{else}}B{{/if}}"), "B") << name;
        EXPECT_EQ(render("{% if " + name + " %}A{% else %}B{% endif %}"), "B") << name;
    }
    for (std::string name : {"yes", "pi", "name", "list", "object", "object.k1", "users.1"}) {
        EXPECT_EQ(render("{{#if " + name + "}}A{{else}}B{{/if}}"), "A") << name;
        EXPECT_EQ(render("{% if " + name + " %}A{% else %}B{% endif %}"), "A") << name;
    }
}

TEST(Template, WhiteSpace) {
    check({{"a\n{{#if yes}}\nb\n{{/if}}\nc", "a\nb\nc"},
           {"a\n  {% if yes %}  \n  b\n  {% endif %}\t\nc\n", "a\n  b\nc\n"},
           {"a\r\n{% if yes %}\r\nb\r\n{% endif %}\r\nc", "a\r\nb\r\nc"},
           {"{% if no %}\na\n{% endif %}\nb", "b"},
           {"a\n{% if no %}\nx\n{% else %}\ny\n{% endif %}", "a\ny\n"},
           {"a\n{{#if no}}\nx\n{{else if yes}}\ny\n{{/if}}\n", "a\ny\n"},
           {"a\n{{name}}\nb", "a\nAnn\nb"},
           {"a\n{{empty}}\nb", "a\n\nb"},
           {"a {{#if yes}}b{{/if}} c", "a b c"},
           {"a\n {{#if yes}} b {{/if}} \nc", "a\n  b  \nc"},
           {"{{#each list}}\n- {{this}}\n{{/each}}\n", "- a\n- b\n- c\n"},
           {"a\n{% if yes %}{% if yes %}\nb\n{% endif %}{% endif %}\nc", "a\nb\nc"},
           {"a\n{% if yes %} x\n{% endif %}\n", "a\n x\n"},
           {"a  {{~name~}}  b", "aAnnb"},
           {"a \n {{~#if yes~}} \n b \n {{~/if~}} \n c", "abc"},
           {"a \n {%- if yes -%} \n b \n {%- endif -%} \n c", "abc"},
           {"a {{- name -}} b", "aAnnb"},
           {"a {{~name}} b {{name~}} c", "aAnn b Annc"},
           {"\n\n{% if yes %}\n\n{% endif %}\n\n", "\n\n\n\n"},
           {"{% if yes %}",
            "PARSE: template error at line 1, column 1: a block that is never closed "
            "with '{% endif %}'"}});
}

TEST(Template, TheDefaultTemplate) {
    auto t = Template::parse(
                 "{{instruction}}\n\nUser: {{input}}\n{{#if previous_error}}Your previous attempt "
                 "failed "
                 "with the following error. Fix it:\n{{previous_error}}\n{{/if}}Assistant:")
                 .value();
    json::Object context{{"instruction", "Be brief."}, {"input", "{}"}, {"previous_error", ""}};
    EXPECT_EQ(t.render(context).value(), "Be brief.\n\nUser: {}\nAssistant:");
    context["previous_error"] = "exit code 1";
    EXPECT_EQ(t.render(context).value(),
              "Be brief.\n\nUser: {}\nYour previous attempt failed with the following error. Fix "
              "it:\nexit code 1\nAssistant:");
    EXPECT_TRUE(t.mentions("previous_error"));
}

// As a YAML block scalar hands them over.
TEST(Template, TheSeedsTemplates) {
    auto plain = Template::parse("{{instruction}}\nUser: {{input}}\nReviewer:").value();
    auto jinja =
        Template::parse(
            "{{instruction}}\n\nUser: {{input}}\n\n{% if previous_error %}\nYour previous attempt "
            "failed with the following error. Fix it:\n{{previous_error}}\n{% endif "
            "%}\n\nReviewer:\n")
            .value();
    json::Object context{{"instruction", "Review.\n"}, {"input", R"({"pr": 42})"}};
    EXPECT_EQ(plain.render(context).value(), "Review.\n\nUser: {\"pr\": 42}\nReviewer:");
    EXPECT_FALSE(plain.mentions("previous_error"));
    EXPECT_EQ(jinja.render(context).value(), "Review.\n\n\nUser: {\"pr\": 42}\n\n\nReviewer:\n");
    context["previous_error"] = "/: required property 'output' is missing";
    EXPECT_EQ(jinja.render(context).value(),
              "Review.\n\n\nUser: {\"pr\": 42}\n\nYour previous attempt failed with the following "
              "error. Fix "
              "it:\n/: required property 'output' is missing\n\nReviewer:\n");
    EXPECT_TRUE(jinja.mentions("previous_error"));
}

TEST(Template, TextAndValueOfOneVariable) {
    auto out = [](std::string_view input, std::string_view text) {
        json::Object members;
        if (auto value = json::parse(input)) members["input"] = *value;
        ObjectContext context(std::move(members));
        context.setText("input", input);
        return Template::parse(text).value().render(context).value();
    };
    constexpr const char* kExact = "{ \"b\": 1.50,\n \"a\" : [1, 2] }";
    EXPECT_EQ(out(kExact, "{{input}}"), kExact);
    EXPECT_EQ(out(kExact, "{{input.b}} {{input.a}} {{input.a.1}}"), "1.5 [1,2] 2");
    EXPECT_EQ(out(kExact, "{{#each input}}{{@key}}{{/each}}{% for k in input %}{{k}}{% endfor %}"),
              "baba");
    EXPECT_EQ(out(kExact, "{% for v in input.a %}{{v}}{{input.b}}{% endfor %}"), "11.521.5");
    for (auto falsy : {"null", "{}", " [ ] ", "0", "\"\"", "false", ""})
        EXPECT_EQ(out(falsy, "{{#if input}}A{{else}}{{input}}{{/if}}"), falsy) << falsy;
    EXPECT_EQ(out("no json", "{{#if input}}{{input}}{{input.x}}{{/if}}"), "no json");
    EXPECT_EQ(out("no json", "{% if input == 'no json' %}same{% endif %}"), "same");
    EXPECT_EQ(out("\"text\"", "{% if input == 'text' %}{{input}}{% endif %}"), "\"text\"");
}

TEST(Template, ErrorsHavePositions) {
    struct Case {
        const char* text;
        int line, column;
        const char* what;
    };
    for (const Case& c : {
             Case{"ab\n {{foo bar}}", 2, 2, "unknown helper 'foo'"},
             {"{{ x | upper }}", 1, 6, "filters are not supported"},
             {"{{> partial}}", 1, 1, "partials are not supported"},
             {"{{#with x}}{{/with}}", 1, 1, "unknown block '#with'"},
             {"{{#if x}}", 1, 1, "never closed with '{{/if}}'"},
             {"\n\n{% for v in x %}{{v}}", 3, 1, "never closed with '{% endfor %}'"},
             {"{{#if x}}{% endif %}", 1, 10, "where '{{/if}}' is expected"},
             {"{% if x %}{{/if}}", 1, 11, "where '{% endif %}' is expected"},
             {"{% if x %}{{else}}{% endif %}", 1, 11, "'{{else}}'"},
             {"{{/if}}", 1, 1, "without an open block"},
             {"{{else}}", 1, 1, "without an open block"},
             {"{% endfor %}", 1, 1, "without an open block"},
             {"{{#if x}}{{else}}{{else}}{{/if}}", 1, 18, "a second"},
             {"{{#if x}}{{else}}{{else if y}}{{/if}}", 1, 18, "after an else"},
             {"{{#each x}}{{else if y}}{{/each}}", 1, 12, "'{{/each}}' is expected"},
             {"{{#if a b}}{{/if}}", 1, 9, "one argument"},
             {"{{#if a == b}}{{/if}}", 1, 9, "unexpected"},
             {"{{#if}}{{/if}}", 1, 6, "expected a variable"},
             {"{{#each}}{{/each}}", 1, 8, "expected a variable"},
             {"{{x", 1, 1, "never closed with '}}'"},
             {"a {% if x", 1, 3, "never closed with '%}'"},
             {"a\n{# x", 2, 1, "never closed with '#}'"},
             {"{{! x", 1, 1, "never closed"},
             {"{{!-- x }}", 1, 1, "never closed with '--}}'"},
             {"{{}}", 1, 1, "empty tag"},
             {"{{ }}", 1, 1, "empty tag"},
             {"{{\"a\": 1}}", 1, 3, "expected a variable"},
             {"{{x.}}", 1, 5, "expected a name"},
             {"{{x()}}", 1, 4, "calls are not supported"},
             {"{{n-1}}", 1, 4, "unexpected '-'"},
             {"{{true}}", 1, 3, "expected a variable"},
             {"{{@foo}}", 1, 4, "unknown variable '@foo'"},
             {"{% set x = 1 %}", 1, 1, "unknown tag '{% set %}'"},
             {"{% %}", 1, 1, "unknown tag"},
             {"{% else if x %}", 1, 12, "expected '{% elif %}'"},
             {"{% if %}{% endif %}", 1, 7, "expected a variable or a value"},
             {"{% if a and %}{% endif %}", 1, 13, "expected a variable or a value"},
             {"{% if a == %}{% endif %}", 1, 12, "expected a variable or a value"},
             {"{% if a < b < c %}{% endif %}", 1, 13, "cannot be chained"},
             {"{% if (a %}{% endif %}", 1, 10, "expected ')'"},
             {"{% if a) %}{% endif %}", 1, 8, "unexpected ')'"},
             {"{% if a is defined %}{% endif %}", 1, 9, "'is' is not supported"},
             {"{% if a = b %}{% endif %}", 1, 9, "unexpected '='"},
             {"{% if a | length %}{% endif %}", 1, 9, "filters"},
             {"{% if and %}{% endif %}", 1, 7, "not 'and'"},
             {"{% if 'abc %}{% endif %}", 1, 7, "never closed"},
             {"{% for in x %}{% endfor %}", 1, 8, "expected a name"},
             {"{% for k, v in x %}{% endfor %}", 1, 11, "one variable"},
             {"{% for v of x %}{% endfor %}", 1, 10, "expected 'in'"},
             {"{{{{raw}}}}", 1, 1, "raw blocks"},
             {"{{^x}}{{/x}}", 1, 1, "unknown tag"},
         }) {
        auto t = Template::parse(c.text);
        ASSERT_FALSE(t) << c.text;
        EXPECT_EQ(t.error().code, ErrorCode::kInvalid);
        ASSERT_EQ(t.error().details.size(), 1U) << c.text;
        EXPECT_EQ(t.error().details[0].line, c.line) << c.text << t.error().message;
        EXPECT_EQ(t.error().details[0].column, c.column) << c.text << t.error().message;
        EXPECT_NE(t.error().message.find(c.what), std::string::npos) << c.text << t.error().message;
    }
}

TEST(Template, Mentions) {
    auto mentions = [](std::string_view text) {
        return Template::parse(text).value().mentions("previous_error");
    };
    for (auto text :
         {"{{previous_error}}", "{{{ previous_error }}}", "{{#if previous_error}}{{/if}}",
          "{% if not (a or previous_error == '') %}{% endif %}", "{{previous_error.x}}",
          "{{#each x}}{{#unless y}}{{else}}{{../previous_error}}{{/unless}}{{/each}}",
          "{% for v in previous_error %}{% endfor %}", "{{@root.previous_error}}",
          "{% if a %}{% elif previous_error %}{% endif %}"})
        EXPECT_TRUE(mentions(text)) << text;
    for (auto text : {"", "previous_error", "\\{{previous_error}}", "{{! previous_error }}",
                      "{# {{previous_error}} #}", "{{x.previous_error}}", "{{previous_errors}}",
                      "{% if x == 'previous_error' %}{% endif %}"})
        EXPECT_FALSE(mentions(text)) << text;
}

std::string repeated(std::string_view s, int times) {
    std::string out;
    for (int i = 0; i < times; ++i)
        out += s;
    return out;
}

TEST(Template, IsBounded) {
    EXPECT_EQ(render(repeated("{{#if yes}}", 64) + "x" + repeated("{{/if}}", 64)), "x");
    EXPECT_NE(render(repeated("{{#if yes}}", 65)).find("column 705: blocks nested deeper"),
              std::string::npos);
    EXPECT_EQ(render("{% if " + repeated("(", 60) + "yes" + repeated(")", 60) + " %}x{% endif %}"),
              "x");
    EXPECT_NE(render("{% if " + repeated("(", 100'000) + " %}").find("nested deeper"),
              std::string::npos);
    EXPECT_NE(render("{% if " + repeated("not ", 100'000) + " %}").find("nested deeper"),
              std::string::npos);
    EXPECT_EQ(render("{% if " + repeated("no or ", 100'000) + "yes %}x{% endif %}"), "x");
    EXPECT_EQ(render("{{" + repeated("a.", 100'000) + "a}}"), "");
    auto large = Template::parse(std::string(Template::kMaxTextBytes + 1, 'x'));
    ASSERT_FALSE(large);
    EXPECT_EQ(large.error().code, ErrorCode::kTooLarge);

    json::Array many(1000);
    json::Object context{{"l", many}};
    auto loops = Template::parse(
        "{% for a in l %}{% for b in l %}{% for c in l %}{% endfor %}{% endfor %}{% endfor %}");
    auto out = loops->render(context);
    ASSERT_FALSE(out);
    EXPECT_EQ(out.error().code, ErrorCode::kTooLarge);
    auto wide =
        Template::parse("{% for a in l %}{{l}}{% endfor %}")->render(context, {1000, 1'000'000});
    ASSERT_FALSE(wide);
    EXPECT_NE(wide.error().message.find("exceeds 1000 bytes"), std::string::npos);
}

TEST(Template, StaysLinear) {
    auto start = std::clock();
    for (std::string unit : {"{{x}}", "{{!----}}", "{", "{{!-- ", "'\\'", "{{'\\'", "\\{{", "{# #}",
                             "{% if x %}{% endif %}\n", "\\", " ", "\n", "{{~x~}} ", "{{\"",
                             "{{#each x}}{{/each}}", "{% if '", "--"}) {
        std::string text = repeated(unit, static_cast<int>((256 << 10) / unit.size()));
        for (const char* before : {"", "{{", "{{!--", "{% if '"}) {
            if (auto t = Template::parse(text.substr(0, text.size() - 10).insert(0, before))) {
                EXPECT_TRUE(t->render(json::Object{}));
            }
        }
    }
    EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 20.0);
}

// Random soup of tokens: a template or an error with a position, and what is inserted survives.
TEST(Template, TokenSoup) {
    static const std::vector<std::string> kTokens{
        "{{",       "}}",         "{{{",         "}}}",       "{%",      "%}",          "{#",
        "#}",       "\\",         "~",           "-",         "#if ",    "#each ",      "/if",
        "/each",    "else",       "if ",         "for ",      " in ",    "endif",       "endfor",
        "elif ",    "x",          "y.z",         "this",      "@index",  "..",          "/",
        "\n",       " ",          "\"",          "'",         "(",       ")",           "==",
        "<",        "not ",       "and ",        "1",         "!",       "!--",         "--}}",
        "{{x}}",    "{% if x %}", "{% endif %}", "{{#if x}}", "{{/if}}", "{{#each y}}", "{{/each}}",
        "\xc3\xa9", "\xff",       "[",           "]",         ".",       "|",           "&",
        "^"};
    std::mt19937 random(20260222);
    json::Object context = json::parse(R"({"x":"{{y}}","y":{"z":[1,2]}})").value().as_object();
    int parsed = 0;
    for (int i = 0; i < 50'000; ++i) {
        std::string text;
        for (std::size_t n = random() % 12; n > 0; --n)
            text += kTokens[random() % kTokens.size()];
        auto t = Template::parse(text);
        if (!t) {
            ASSERT_EQ(t.error().details.size(), 1U) << text;
            ASSERT_GT(t.error().details[0].line, 0) << text;
            ASSERT_GT(t.error().details[0].column, 0) << text;
            continue;
        }
        ++parsed;
        ASSERT_TRUE(t->render(context)) << text;
    }
    EXPECT_GT(parsed, 5'000);
}

TEST(Template, InsertedTextSurvivesWhateverItIs) {
    std::mt19937 random(1);
    auto t =
        Template::parse("<{{x}}|{{{x}}}|{% if x %}{{x}}{% endif %}|{{#each l}}{{this}}{{/each}}>")
            .value();
    constexpr std::string_view kAlphabet = "{}%#~-\\!/ \n<&\"'x";
    for (int i = 0; i < 5'000; ++i) {
        std::string x;
        for (std::size_t n = 1 + random() % 10; n > 0; --n)
            x += kAlphabet[random() % kAlphabet.size()];
        json::Object context{{"x", x}, {"l", json::Array{json::Value(x)}}};
        EXPECT_EQ(t.render(context).value(), "<" + x + "|" + x + "|" + x + "|" + x + ">");
    }
}

}  // namespace
}  // namespace aegis::text
